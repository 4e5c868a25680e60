"""Every command block of the documentation runs, in a project with 200 small images.

`make test-docs` runs these tests. It takes half an hour, and fetches the weights of two networks
from the package index.
"""

import shlex

import pytest

from tests.conftest import ROOT
from thaw.composition import compose
from website.commands_in_text import blocks, pages, prepare, run_page
from website.tutorials import tutorials, with_outputs

BLOCKS = [block for page in pages() for block in blocks(page)]


def overrides():
    """Yield the distinct -S of each `dvc exp run` of the pages."""
    lines = [line for block in BLOCKS for line in block.commands.replace("\\\n", "").splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:3] == ["dvc", "exp", "run"] and not {"--queue", "runtime=ray"} & set(words):
            pairs = zip(words, words[1:], strict=False)
            yield tuple(word for before, word in pairs if before == "-S")


@pytest.mark.parametrize("chosen", sorted(set(overrides())), ids=" ".join)
def test_the_parameters_of_the_pages_are_valid(chosen):
    assert compose(*chosen)["derived"]


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("documentation"))


@pytest.mark.parametrize("page", sorted(set(pages()) - set(tutorials())))
def test_the_commands_of_a_page_run(page, project, tmp_path):
    run_page(page, project, tmp_path)


@pytest.mark.parametrize("page", tutorials())
def test_the_commands_of_a_tutorial_run(page, tmp_path):
    with_outputs((ROOT / page).read_text(encoding="utf-8"), tmp_path)
