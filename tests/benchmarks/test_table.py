"""The tables of results in docs/results.md and README.md are generated from the result files."""

import pytest

from benchmarks.runs import MARKS, ROOT, TABLE, cell, table, tables


@pytest.mark.parametrize("page", tables())
def test_no_figure_is_typed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.split(MARKS[0])[1].split(MARKS[1])[0].strip() == tables()[page]


def test_the_results_page_has_every_row_and_the_readme_eight():
    assert tables()["docs/results.md"] == table(TABLE)
    for row in TABLE:
        assert f"`{row.model}`: {row.description} | " in tables()["docs/results.md"]
        assert f" {cell(row)} |" in tables()["docs/results.md"]
    assert len(tables()["README.md"].splitlines()) == 2 + 8


def test_presets_name_the_page_of_their_figures():
    for preset in ROOT.glob("conf/experiment/*.yaml"):
        text = preset.read_text("utf-8")
        assert "# Ours: " not in text
        assert "docs/results.md" in text or preset.stem in ("pixels_only", "preprocessings")
