"""Experiments on a Ray cluster, which share results by remotes."""

import importlib.util
import subprocess
import sys

import pytest

from tests.pipeline.conftest import ROOT, Project, draw
from tests.pipeline.test_pipeline import overrides
from thaw.cli.spread import combinations

INSTALLED = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed (pip install -e '.[ray]')",
)
CHOSEN = ["dataset=folder", "dataset.source.path=photos", "evaluate.bootstrap=100"]
CHOSEN += ["experiment=pixels_only", "dataset.image.size=32", "networks.small_cnn.epochs=2"]


def test_combinations_form_a_grid():
    values = ["a=1,2", "b=x", "c=3,4"]
    assert combinations(values) == [
        ["a=1", "b=x", "c=3"],
        ["a=1", "b=x", "c=4"],
        ["a=2", "b=x", "c=3"],
        ["a=2", "b=x", "c=4"],
    ]


@pytest.fixture
def shared(tmp_path):
    """Return a project that was run and pushed to a Git remote and a DVC remote, both folders."""
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
        [sys.executable, "-m", "thaw.cli.main", "spread", *arguments],
        cwd=project.folder,
        env={**project.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@INSTALLED
def test_experiments_run_in_their_own_clones_and_can_be_pulled(shared):
    grid = overrides(*CHOSEN[:-1], "networks.small_cnn.epochs=1,3,0")
    done = spread(shared, *grid)
    output = done.stdout
    assert done.returncode == 1 and "3 experiments" in output, output + done.stderr
    assert output.count(": pushed") == 2
    assert (
        "networks.small_cnn.epochs=0: failed:" in output
        and "input should be greater than" in output
    )

    assert shared.dvc("exp", "list", "--name-only").split() == []
    shared.dvc("exp", "pull", "origin", "-A")
    assert len(shared.dvc("exp", "list", "--name-only").split()) == 2
    # a training in another clone is not run again here
    shared.dvc("pull", "--run-cache", "--allow-missing")
    output = shared.dvc("exp", "run", *overrides(*CHOSEN[:-1], "networks.small_cnn.epochs=3"))
    assert shared.ran(output) == ["scan@folder", "evaluate@small_cnn"], output
    assert "Stage 'train_network@small_cnn' is cached" in output


@INSTALLED
def test_a_missing_remote_is_reported_with_what_to_do(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", tmp_path / "store")
    done = spread(project, "-S", "seed=1,2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("thaw: git remote get-url origin: ")
    project._git("remote", "add", "origin", str(project.folder))
    done = spread(project, "-S", "seed=1,2")
    assert done.returncode == 1
    assert done.stderr.startswith("thaw: no DVC remote is set by default. Expected one that every")
