"""Experiments spread over a Ray cluster's workers, with remotes as their meeting point."""

import importlib.util
import subprocess
import sys

import pytest

from tests.pipeline.conftest import ROOT, Project, draw
from tests.pipeline.test_pipeline import PIXELS, overrides
from thaw.cli.spread import combinations

INSTALLED = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed (pip install -e '.[ray]')",
)
CHOSEN = ["dataset=folder", "dataset.source.path=photos", "evaluate.bootstrap=100", *PIXELS]


def test_combinations_are_those_of_a_grid():
    given = ["a=1,2", "b=x", "c=3,4"]
    assert combinations(given) == [
        ["a=1", "b=x", "c=3"],
        ["a=1", "b=x", "c=4"],
        ["a=2", "b=x", "c=3"],
        ["a=2", "b=x", "c=4"],
    ]


@pytest.fixture
def shared(tmp_path):
    """A project that was run and pushed: to a Git remote and a DVC remote, both folders."""
    for name in ("project", "remote", "git"):
        (tmp_path / name).mkdir()
    project = Project(tmp_path / "project", tmp_path / "store")
    draw(project.folder / "photos", {"disc": 20, "square": 20})
    project.dvc("remote", "add", "-d", "team", str(tmp_path / "remote"))
    project.dvc("exp", "run", *overrides(*CHOSEN))
    project.commit("run")
    project._git("init", "--quiet", "--bare", str(tmp_path / "git"))
    project._git("remote", "add", "origin", str(tmp_path / "git"))
    project._git("push", "--quiet", "origin", "HEAD")
    project.dvc("push")
    return project


def spread(project: Project, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "thaw.cli.spread", *arguments],
        cwd=project.folder,
        env={**project.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@INSTALLED
def test_each_runs_in_its_own_clone_and_is_pulled_here(shared):
    grid = overrides(*CHOSEN[:-1], "networks.small_cnn.epochs=1,3,0")
    done = spread(shared, *grid)
    said = done.stdout
    assert done.returncode == 1 and "3 experiments" in said, said + done.stderr
    assert said.count(": pushed") == 2
    assert "networks.small_cnn.epochs=0: failed:" in said and "input should be greater than" in said

    assert shared.dvc("exp", "list", "--name-only").split() == []
    shared.dvc("exp", "pull", "origin", "-A")
    assert len(shared.dvc("exp", "list", "--name-only").split()) == 2
    # what was trained there need not be trained here, though this cache and store never had it
    shared.dvc("pull", "--run-cache", "--allow-missing")
    said = shared.dvc("exp", "run", *overrides(*CHOSEN[:-1], "networks.small_cnn.epochs=3"))
    assert shared.ran(said) == ["scan@folder", "evaluate@small_cnn"], said
    assert "Stage 'train_network@small_cnn' is cached" in said


@INSTALLED
def test_without_a_remote_it_says_what_is_needed(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", tmp_path / "store")
    done = spread(project, "-S", "seed=1,2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("thaw: git remote get-url origin: ")
    project._git("remote", "add", "origin", str(project.folder))
    done = spread(project, "-S", "seed=1,2")
    assert done.returncode == 1
    assert done.stderr.startswith("thaw: no DVC remote is set by default. Expected one that every")
