"""The same bytes twice, in this clone and in another."""

import subprocess
import sys

import pytest
import yaml

from tests.faults.test_interrupted import COUNTS, WHOLE
from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import overrides


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    (folder / "project").mkdir()
    project = Project(folder / "project", folder / "store")
    draw(project.folder / "photos", COUNTS)
    (project.folder / ".gitignore").open("a").write("/photos\n")
    project.dvc("exp", "run", *overrides(*WHOLE))
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


def test_repro_by_force_changes_nothing(project):
    lock = (project.folder / "dvc.lock").read_bytes()
    said = project.dvc("repro", "--force")
    assert len(project.ran(said)) > 15
    assert (project.folder / "dvc.lock").read_bytes() == lock


def test_verify_runs_everything_anew_and_finds_the_same(project):
    code, said = thaw(project, "verify")
    assert code == 0, said
    assert "180 of 180 images are new" in said and len(project.ran(said)) > 15
    assert said.splitlines()[-1].startswith("all ")


def test_verify_names_what_is_recorded_otherwise(project):
    lock = project.folder / "dvc.lock"
    before = lock.read_text()
    recorded = yaml.safe_load(before)
    recorded["stages"]["split"]["outs"][0]["md5"] = "0" * 32
    lock.write_text(yaml.safe_dump(recorded, sort_keys=False))
    project.commit("another split than was made")
    code, said = thaw(project, "verify", "split")
    assert code == 4, said
    assert said.rstrip().endswith("data/split.csv, of split"), said
    lock.write_text(before)
    project.commit("as it was")


def test_verify_refuses_where_nothing_is_recorded(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "thaw.cli.main", "verify"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("thaw: expected a git repository with a dvc.lock here.")
