"""The README's table of results is what the result files say."""

from benchmarks.runs import MARKS, ROOT, TABLE, cell, table


def test_no_figure_is_typed():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.split(MARKS[0])[1].split(MARKS[1])[0].strip() == table()
    presets = "".join(p.read_text("utf-8") for p in ROOT.glob("conf/experiment/*.yaml"))
    for row in TABLE:
        if row.run != "solar_cells":  # the default: it has no preset
            assert f"# Ours: {row.model} ({row.what}): {cell(row)}\n" in presets
