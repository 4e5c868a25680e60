"""Every command block of the documentation runs, in a project with 200 small images.

`make test-docs` runs these tests. It takes half an hour, and fetches the weights of two networks
from the package index.
"""

import shlex

import pytest

from thaw.composition import compose
from website.commands_in_text import blocks, pages, prepare, run_page

BLOCKS = [block for page in pages() for block in blocks(page)]


def overrides():
    """Yield the distinct -S of each `dvc exp run` of the pages."""
    lines = [line for block in BLOCKS for line in block.commands.replace("\\\n", "").splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:3] == ["dvc", "exp", "run"] and "runtime=ray" not in words:
            chosen = [
                word for before, word in zip(words, words[1:], strict=False) if before == "-S"
            ]
            if not any(
                "," in word.split("=")[-1].strip("[]") and "{" not in word for word in chosen
            ):
                yield tuple(chosen)


@pytest.mark.parametrize("chosen", sorted(set(overrides())), ids=" ".join)
def test_the_parameters_of_the_pages_are_valid(chosen):
    assert compose(*chosen)["derived"]


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("documentation"))


@pytest.mark.parametrize("page", pages())
def test_the_commands_of_a_page_run(page, project, tmp_path):
    run_page(page, project, tmp_path)
