"""`stages/run`: a stage with the Python that has Thaw."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOLS = ("sh", "cat")  # all that the test's scripts need


@pytest.fixture
def project(tmp_path):
    """Return a folder with stages/run, a stage that writes its arguments, and no Python."""
    (tmp_path / "stages").mkdir()
    shutil.copy(ROOT / "stages/run", tmp_path / "stages")
    (tmp_path / "stages/echo.py").write_text(
        "import sys\ndef main(*arguments):\n    print(sys.executable, *arguments)\n"
    )
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def python(path: Path, has_thaw: bool = True) -> Path:
    """Write a Python that has Thaw, or one that cannot import it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = f'exec {sys.executable} "$@"' if has_thaw else "exit 1"
    path.write_text(f"#!/bin/sh\necho {path.parent.parent.name} >> used\n{command}\n")
    path.chmod(0o755)
    return path


def run(project: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", "stages/run", "echo", "a b", "c"],
        cwd=project,
        env={"PATH": str(project / "bin"), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


def used(project: Path) -> list[str]:
    """Return the folders of the Pythons that were started, in order."""
    return (project / "used").read_text().split()


def test_without_python_on_path_the_environment_of_the_project_is_used(project):
    python(project / ".venv/bin/python")
    process = run(project)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{sys.executable} a b c\n"
    assert used(project) == [".venv", ".venv"]


def test_a_python_without_thaw_is_skipped(project):
    """As on a machine with a system Python, where .venv is not activated."""
    python(project / "bin/python", has_thaw=False)
    python(project / ".venv/bin/python")
    assert run(project).stdout == f"{sys.executable} a b c\n"
    assert used(project) == [project.name, ".venv", ".venv"]


def test_the_activated_environment_is_preferred(project):
    python(project / "bin/python")
    python(project / ".venv/bin/python", has_thaw=False)
    assert run(project).returncode == 0
    assert used(project) == [project.name, project.name]


def test_a_queued_experiment_uses_the_environment_of_the_repository(project, tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    python(repository / ".venv/bin/python")
    assert run(project, DVC_ROOT=str(repository)).returncode == 0


def test_without_thaw_one_line_says_what_to_do(project):
    python(project / "bin/python", has_thaw=False)
    process = run(project)
    assert process.returncode == 1 and process.stdout == ""
    assert process.stderr == (
        "thaw: no Python has Thaw, neither on PATH nor in .venv. Run `make setup`, or activate an "
        "environment that has it.\n"
    )


def test_the_exit_code_is_the_stages(project):
    python(project / "bin/python")
    (project / "stages/echo.py").write_text("def main(*_):\n    raise KeyError\n")
    process = run(project)
    assert process.returncode == 1 and "KeyError" in process.stderr
    assert os.access(ROOT / "stages/run", os.R_OK)
