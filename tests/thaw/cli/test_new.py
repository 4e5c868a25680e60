"""`thaw new`: from a folder of images to a repository in which the pipeline runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import draw
from thaw.cli.main import command
from thaw.errors import UserError


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return draw(tmp_path / "my photos", {"disc": 20, "square": 15})


def call(*arguments: str, cwd: str) -> str:
    environment = {**os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def test_the_pipeline_runs_in_it_and_its_readme_names_the_classes(photos, capsys):
    (photos / "disc" / "notes.txt").write_text("no image")
    Path("cells.part").mkdir()
    assert command(["new", "cells", "--images", "my photos"]) == 0
    said = capsys.readouterr().out
    assert Path("cells.part").is_dir()  # the user's own
    assert "35 images of disc (20), square (15)" in said and "cd cells && dvc repro" in said
    assert call("git", "status", "--porcelain", cwd="cells") == ""
    readme = Path("cells/README.md").read_text()
    assert "| disc | 20 |" in readme and "| square | 15 |" in readme and str(photos) in readme
    assert "\n\n\n" not in readme and max(map(len, readme.splitlines())) < 200
    values = yaml.safe_load(Path("cells/params.yaml").read_text())
    assert values["dataset"]["name"] == "cells"
    assert values["dataset"]["source"]["path"] == str(photos)
    assert not any(Path("cells", name).exists() for name in ("tests", "results", "dvc.lock"))
    out = call(sys.executable, "-m", "dvc", "repro", "split", cwd="cells")
    assert "Running stage 'scan@folder'" in out and "test       disc" in out


def test_splits_of_the_users_are_told_of(photos):
    for split in ("train", "validation"):
        draw(photos.parent / "split" / split, {"disc": 6, "square": 5}, seed=len(split))
    assert command(["new", "cells", "--images", "split"]) == 0
    readme = Path("cells/README.md").read_text()
    assert "| class | train | validation |" in readme and "| disc | 6 | 6 |" in readme
    assert "the images of `validation/` are the test data" in readme


def test_what_cannot_be_used_leaves_nothing(photos):
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    (photos.parent / "flat").mkdir()
    (photos / "disc/0-0.png").rename(photos.parent / "flat/one.png")
    strange = draw(photos.parent / "strange", {"dog": 2}) / os.fsdecode(b"caf\xe9")
    strange.mkdir()
    (strange.parent / "dog/0-0.png").rename(strange / "0.png")
    for arguments, message in (
        (("full", "my photos"), "full is there already: expected a new name"),
        (("cells", "nowhere"), "--images nowhere: no such folder or archive"),
        (("cells", "flat"), "1 images are in no class folder of flat"),
        (("my photos/cells", "my photos"), "lies in my photos: expected a place outside"),
        (("cells", "strange"), "1 files of strange have names that are not UTF-8"),
        ((".", "my photos"), "expected the name of a folder to make"),
        (("", "my photos"), "'': expected the name of a folder to make"),
        (("nowhere/..", "my photos"), "'nowhere/..': expected the name of a folder to make"),
        (("cells", ""), "--images '': expected a folder or an archive"),
        (("cells", "full/file"), "expected a folder or one of"),
    ):
        with pytest.raises(UserError, match=message):
            command(["new", arguments[0], "--images", arguments[1]])
    assert {path.name for path in Path().iterdir()} == {"my photos", "full", "flat", "strange"}
    assert Path("full/file").read_text() == "mine"
