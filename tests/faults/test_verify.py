"""A second run, in the same clone or another, gives the same bytes."""

import subprocess
import sys

import pytest
import yaml

from tests.faults.test_interrupted import COUNTS, RUN
from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import overrides


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    (folder / "project").mkdir()
    project = Project(folder / "project", folder / "store")
    draw(project.folder / "photos", COUNTS)
    (project.folder / ".gitignore").open("a").write("/photos\n")
    project.dvc("exp", "run", *overrides(*RUN))
    project.commit("recorded")
    return project


def thaw(project: Project, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "thaw.cli.main", *arguments],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_forced_repro_changes_nothing(project):
    lock = (project.folder / "dvc.lock").read_bytes()
    output = project.dvc("repro", "--force")
    assert len(project.ran(output)) > 15
    assert (project.folder / "dvc.lock").read_bytes() == lock


def test_verify_runs_everything_again_with_the_same_results(project):
    code, output = thaw(project, "verify")
    assert code == 0, output
    assert "180 of 180 images are new" in output and len(project.ran(output)) > 15
    assert output.splitlines()[-1].startswith("all ")


def test_verify_lists_artifacts_that_differ(project):
    lock = project.folder / "dvc.lock"
    before = lock.read_text()
    recorded = yaml.safe_load(before)
    recorded["stages"]["split"]["outs"][0]["md5"] = "0" * 32
    lock.write_text(yaml.safe_dump(recorded, sort_keys=False))
    project.commit("a wrong digest of the split")
    code, output = thaw(project, "verify", "split")
    assert code == 4, output
    assert output.rstrip().endswith("data/split.csv, of split"), output
    lock.write_text(before)
    project.commit("the right digest")


def test_verify_needs_a_dvc_lock(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "thaw.cli.main", "verify"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("thaw: expected a git repository with a dvc.lock here.")
