"""`thaw help`, and the pages and sections that messages name."""

import ast

import pytest

from tests.conftest import ROOT
from thaw.cli.help import FOLDERS, sections
from thaw.cli.main import command
from thaw.cli.wheel import make_wheel
from thaw.errors import UserError

GUIDES = {"table.py": "manifests", "rows.py": "manifests", "columns.py": "manifests"}


def named_sections():
    """Yield page and section of each message: of `see(PAGE, SECTION)`, and of `question`."""
    for file in sorted((ROOT / "thaw").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            name = isinstance(node, ast.Call) and ast.unparse(node.func)
            last = node.args[-1] if name in ("see", "question") else None
            if isinstance(last, ast.Constant):
                page = node.args[0]
                fixed = isinstance(page, ast.Constant) and name == "see"
                yield page.value if fixed else GUIDES.get(file.name, "your-images"), last.value


def test_every_section_that_a_message_names_exists():
    named = set(named_sections())
    assert {"splits", "columns", "formats-and-bit-depth"} < {section for _, section in named}
    for page, section in named:
        assert section in sections((ROOT / "docs" / f"{page}.md").read_text()), (page, section)


def test_help_lists_pages_and_prints_sections_with_their_sub_sections(capsys):
    assert command(["help"]) == 0
    listed = capsys.readouterr().out
    for page in (ROOT / "docs").rglob("*.md"):
        assert f"thaw help {page.stem} " in listed
    for arguments in (["your-images", "layouts"], ["your-images#layouts"]):
        assert command(["help", *arguments]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("## Layouts") and "### Masks" in printed
        assert "## Size" not in printed
    for name in ("offline", "offline.md", "how-to/offline.md"):
        assert command(["help", name]) == 0
        assert capsys.readouterr().out.startswith("# Machines without network")
    with pytest.raises(UserError, match="no section 'layout'. Did you mean layouts"):
        command(["help", "your-images", "layout"])
    with pytest.raises(UserError, match="no page 'images'"):
        command(["help", "images"])


def test_the_wheel_contains_the_pages(tmp_path, monkeypatch, capsys):
    library = make_wheel(tmp_path).extract(tmp_path / "library")
    monkeypatch.setattr("thaw.cli.help.FOLDERS", [library / "thaw/docs"])
    assert command(["help", "manifests", "columns"]) == 0
    assert capsys.readouterr().out.startswith("## Columns")
    assert command(["help", "folder-to-report"]) == 0
    assert FOLDERS[0].parts[-2:] == ("thaw", "docs")
