"""`dvc exp run` in an environment that has DVC but not Thaw."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from thaw.cli.wheel import make_wheel


@pytest.fixture
def without_thaw(tmp_path) -> Path:
    """The Python of an environment that has all packages of this one except Thaw."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")  # without its own .pth
    return folder / "bin" / "python"


def test_dvc_exp_run_without_thaw_says_to_activate_the_environment(project, without_thaw, tmp_path):
    wheel = make_wheel(tmp_path / "wheel")
    mine = tmp_path / "mine"  # the files that `thaw new` writes
    for name, content in wheel.project_files("mine", wheel).items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(content)
    git = ["git", "-C", mine, "-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    for arguments in (["init"], ["add", "--all"], ["commit", "--message", "start"]):
        subprocess.run([*git, *arguments], env=project.environment, check=True)
    for folder in (project.folder, mine):
        done = subprocess.run(
            [without_thaw, "-P", "-m", "dvc", "exp", "run", "-S", "seed=1"],  # as the command `dvc`
            cwd=folder,
            env=project.environment,
            capture_output=True,
            text=True,
        )
        *_, last = done.stderr.splitlines()
        assert done.returncode == 1
        assert last.startswith(f"thaw: {without_thaw} cannot import Thaw (No module named 'thaw')")
        assert "Activate it with `. .venv/bin/activate`, then run again." in last
        assert "interpolation" not in done.stderr
        changed = subprocess.check_output(["git", "-C", folder, "status", "--porcelain"])
        assert not changed
