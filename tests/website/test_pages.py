"""The pages of the documentation, as far as they can be checked without running a pipeline."""

import json
import pkgutil
import re

import pytest

import thaw.config
from tests.conftest import ROOT
from thaw.cli.main import COMMANDS, command_parser
from thaw.config.base import Section
from website import commands, parameters
from website.check import problems
from website.commands_in_text import blocks, pages

BLOCKS = [block for page in pages() for block in blocks(page)]
NOT_RUN = [block for block in BLOCKS if block.reason]
MOST_NOT_RUN = 30  # command blocks that no test runs, each with its reason above it
MOST_WORDS = 900
GENERATED = re.compile(r"(?s)<!-- results -->.*?<!-- /results -->|```.*?```|<!--.*?-->")


@pytest.mark.parametrize("page", pages())
def test_no_page_is_long(page):
    text = GENERATED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    assert len(re.findall(r"\w[\w.,%'-]*", text)) <= MOST_WORDS


def test_the_readme_has_at_most_100_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_readme_shows_the_recorded_metrics():
    """If it fails: python -m website.readme."""
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- metrics -->")[1]
    for path in (ROOT / "results/metrics").glob("*.json"):
        accuracy = json.loads(path.read_text(encoding="utf-8"))["accuracy"]
        assert re.search(rf"results/metrics/{path.name} +{accuracy}\b", shown)


def test_few_command_blocks_are_not_run():
    assert 0 < len(NOT_RUN) <= MOST_NOT_RUN < len(BLOCKS)


def sections():
    """Return every section that thaw/config/ declares."""
    found, todo = set(), [Section]
    for module in pkgutil.iter_modules(thaw.config.__path__, "thaw.config."):
        __import__(module.name)
    while todo:
        subclasses = todo.pop().__subclasses__()
        found |= {each for each in subclasses if each.__module__.startswith("thaw.config")}
        todo += subclasses
    return found


def test_the_reference_has_every_section_and_a_meaning_for_every_parameter():
    tables = [table for _, listed in parameters.PAGES.values() for table in listed]
    documented = {base for table in tables for base in table.model.__mro__}
    missing = {each.__name__ for each in sections() - documented}
    assert missing <= {"Dense"}  # a DenseHead and a Training
    for name, _, text in parameters.pages():
        assert "|  |\n" not in text.replace("| section |  |\n", ""), name
        assert "{'" not in text and "value" not in {c.strip() for c in text.split("|")}


def test_the_reference_has_every_command_and_option():
    text = commands.page()
    for name in COMMANDS:
        section = text.split(f"## thaw {name}\n")[1].partition("\n## ")[0]
        for action in command_parser(name)._actions[1:]:
            assert all(option in section for option in action.option_strings)


def test_what_a_page_loads_from_another_server_is_found(tmp_path):
    page = "<title>A</title><h1>A</h1><a href='https://a.example/'>elsewhere</a>"
    (tmp_path / "a.html").write_text(page)
    assert problems(tmp_path) == []
    (tmp_path / "a.html").write_text(page + "<script src='//b.example/b.js'></script>")
    (tmp_path / "a.css").write_text("@import url(https://b.example/b.css);")
    assert len(problems(tmp_path)) == 2
