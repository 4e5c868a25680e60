"""`thaw new`: create a project for a folder of images, in which the pipeline runs."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import draw
from thaw.cli.main import command
from thaw.cli.wheel import Wheel
from thaw.composition import compose
from thaw.config.base import read_params
from thaw.errors import UserError


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return draw(tmp_path / "my photos", {"disc": 20, "square": 15})


def call(*arguments: str, cwd: str, python: str = sys.executable) -> str:
    """Return what a command prints in the folder `cwd`, with the environment of `python`."""
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def test_the_pipeline_runs_in_it_and_its_readme_names_the_classes(photos, capsys, environment):
    (photos / "disc" / "notes.txt").write_text("no image")
    Path("cells.part").mkdir()
    assert command(["new", "cells", "--images", "my photos"]) == 0
    said = capsys.readouterr().out
    assert Path("cells.part").is_dir()  # a folder of the user
    assert "35 images of disc (20), square (15)" in said and "cd cells && make repro" in said
    assert re.search(r"The pipeline takes (about|more than) \d+ (s|min)\b.* if this mach", said)
    assert call("git", "status", "--porcelain", cwd="cells") == ""
    readme = Path("cells/README.md").read_text()
    assert "| disc | 20 |" in readme and "| square | 15 |" in readme and str(photos) in readme
    assert "\n\n\n" not in readme and max(map(len, readme.splitlines())) < 200
    values = yaml.safe_load(Path("cells/params.yaml").read_text())
    assert values["dataset"]["name"] == "cells"
    assert values["dataset"]["source"]["path"] == str(photos)
    absent = ("tests", "results", "dvc.lock", "thaw", "hydra_plugins", "benchmarks", "docs")
    assert not any(Path("cells", name).exists() for name in absent)
    (path,) = Path("cells/vendor").iterdir()
    wheel = Wheel(path)
    code = yaml.safe_load(Path("cells/dvc.yaml").read_text())["vars"][0]["code"]
    assert set(code.values()) == {f"vendor/{path.name}"}
    pinned = f"./vendor/{path.name} --hash=sha256:{wheel.digest}"
    assert Path("cells/requirements-cpu.lock").read_text().splitlines()[-1] == pinned
    python = environment(wheel)
    assert "environment" in call(python, "-c", "import thaw; print(thaw.__file__)", cwd="cells")
    out = call(python, "-m", "dvc", "repro", "split", cwd="cells", python=python)
    assert "Running stage 'scan@folder'" in out and "test       disc" in out
    recorded = yaml.safe_load(Path("cells/dvc.lock").read_text())["stages"]["split"]["deps"]
    assert f"vendor/{path.name}" in [dependency["path"] for dependency in recorded]
    # the installed wheel creates projects too
    call(python, "-m", "thaw.cli.main", "new", "other", "--images", "my photos", cwd=".")
    assert Wheel(Path("other/vendor", path.name)).same_content(wheel)


@pytest.mark.parametrize("name", ["1e3", "null", "a: b", "${seed}", "c\\${x}"])
def test_names_and_paths_are_text(photos, name):
    images = photos.rename(photos.parent / f"{name} photos")
    assert command(["new", name, "--images", images.name]) == 0
    with contextlib.chdir(name):
        for values in (read_params(), compose()):
            assert values["dataset"]["name"] == name
            assert values["dataset"]["source"]["path"] == str(images)
    assert call(sys.executable, "-m", "dvc", "status", "conf", cwd=name)


def test_the_makefile_installs_the_wheel_and_has_no_tests(photos):
    assert command(["new", "cells", "--images", "my photos"]) == 0
    commands = call("make", "--dry-run", "setup", "EXTRA=s3", cwd="cells")
    assert "--require-hashes --compile-bytecode requirements-cpu.lock" in commands
    assert "'./vendor/thaw-" in commands and "-any.whl[s3]'" in commands
    assert "--editable" not in commands
    assert subprocess.run(
        ["make", "--dry-run", "test"], cwd="cells", capture_output=True
    ).returncode


def test_the_readme_describes_splits_that_the_user_made(photos):
    for split in ("train", "validation"):
        draw(photos.parent / "split" / split, {"disc": 6, "square": 5}, seed=len(split))
    assert command(["new", "cells", "--images", "split"]) == 0
    readme = Path("cells/README.md").read_text()
    assert "| class | train | validation |" in readme and "| disc | 6 | 6 |" in readme
    assert "the images of `validation/` are the test split" in readme


def test_parameters_of_the_source_become_defaults(photos, capsys):
    for kind in ("images", "masks"):
        draw(photos.parent / "kinds" / "disc" / kind, {"": 6}, seed=len(kind))
        draw(photos.parent / "kinds" / "square" / kind, {"": 6}, seed=len(kind) + 9)
    chosen = "dataset.source.exclude=[masks,'${x}']"
    assert command(["new", "cells", "--images", "kinds", "-S", chosen]) == 0
    assert "kinds: 2 classes, 12 images; ignored: 12 images by root, inc" in capsys.readouterr().out
    with contextlib.chdir("cells"):
        for values in (read_params(), compose()):
            assert values["dataset"]["source"]["exclude"] == ["masks", "${x}"]
            assert values["dataset"]["source"]["layout"] is None


def test_parameters_of_the_dataset_become_its_defaults(photos):
    chosen = ["-S", "dataset.split.group=folder", "-S", "dataset.positive_class=null"]
    assert command(["new", "cells", "--images", "my photos", *chosen]) == 0
    dataset = yaml.safe_load(Path("cells/params.yaml").read_text())["dataset"]
    assert dataset["split"]["group"] == "folder" and dataset["positive_class"] is None


def competition(photos: Path) -> Path:
    """Move the photos to one folder, and list their classes in labels.csv beside it."""
    folder = photos.parent / "competition"
    (folder / "train").mkdir(parents=True)
    lines = ["id,class,patient"]
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(folder / "train" / f"{number}.png")
        lines.append(f"{number},{path.parent.name},{number // 5}")
    (folder / "labels.csv").write_text("\n".join(lines))
    (folder / "sample_submission.csv").write_text("id,class\n100,disc\n")
    return folder


@pytest.mark.parametrize("given", ["competition", "competition/labels.csv"])
def test_labels_may_come_from_a_manifest(photos, capsys, given):
    folder = competition(photos)
    assert command(["new", "cells", "--images", given]) == 0
    said = capsys.readouterr().out
    assert ("competition has no class folders, but a manifest that fits" in said) == (
        given == "competition"
    )
    assert "35 images, 2 classes (path = id, without extension, found in sub-folders" in said
    assert "-S dataset.split.group=patient" in said and "disc (20), square (15)" in said
    readme = Path("cells/README.md").read_text()
    assert "| disc | 20 |" in readme and "After you edit the manifest" in readme
    with contextlib.chdir("cells"):
        source = read_params("dataset", "source")
        assert source["kind"] == "manifest" and source["path"] == str(folder / "labels.csv")
        assert read_params() == compose()
    assert call(sys.executable, "-m", "dvc", "status", "conf", cwd="cells")


def test_manifests_that_do_not_fit_are_refused(photos):
    folder = competition(photos)
    shutil.copy(folder / "labels.csv", folder / "labels2.csv")
    with pytest.raises(UserError, match="has no class folders and 2 manifests that fit. Choose on"):
        command(["new", "cells", "--images", "competition"])
    (folder / "labels2.csv").unlink()
    (folder / "train" / "0.png").unlink()
    with pytest.raises(UserError, match="As a manifest: 1 of 35 rows of labels.csv name files tha"):
        command(["new", "cells", "--images", "competition"])
    assert not Path("cells").exists()


def test_folders_and_a_manifest_that_disagree_stop(photos, capsys):
    """Folders may be cameras; then the manifest has the classes."""
    files = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    lines = [f"{file},{'xy'[number % 2]}" for number, file in enumerate(files)]
    (photos / "labels.csv").write_text("\n".join(["file,label", *lines]))
    with pytest.raises(UserError, match="its folders say disc, square, and the manifest .* says x"):
        command(["new", "cells", "--images", "my photos"])
    chosen = ["-S", "dataset.source.layout=classes"]
    assert command(["new", "cells", "--images", "my photos", *chosen]) == 0
    lines = [f"{file},{file.split('/')[0]}" for file in files]
    (photos / "labels.csv").write_text("\n".join(["file,label", *lines]))
    assert command(["new", "same", "--images", "my photos"]) == 0
    assert "same: 35 images of disc (20), square (15)" in capsys.readouterr().out


def test_columns_of_a_manifest_become_defaults(photos):
    folder = competition(photos)
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("patient", "label"))
    arguments = ["new", "cells", "--images", "competition/labels.csv"]
    with pytest.raises(UserError, match="several columns that may be the label: class, label"):
        command(arguments)
    command([*arguments, "-S", 'dataset.source.columns.label="class"'])
    with contextlib.chdir("cells"):
        for values in (read_params(), compose()):
            assert values["dataset"]["source"]["columns"]["label"] == "class"
            assert values["dataset"]["source"]["columns"]["path"] is None


def test_unusable_arguments_leave_nothing(photos):
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    (photos.parent / "flat").mkdir()
    (photos / "disc/0-0.png").rename(photos.parent / "flat/one.png")
    strange = draw(photos.parent / "strange", {"dog": 2}) / os.fsdecode(b"caf\xe9")
    strange.mkdir()
    (strange.parent / "dog/0-0.png").rename(strange / "0.png")
    for arguments, message in (
        (("full", "my photos"), "full already exists: expected a new name"),
        (("cells", "nowhere"), "--images nowhere: no such folder, archive or manifest"),
        (("cells", "flat"), "1 images are in no class folder of flat"),
        (("my photos/cells", "my photos"), "is inside my photos: expected a place outside"),
        (("cells", "strange"), "1 files of strange have names that are not UTF-8"),
        ((".", "my photos"), "expected the name of a folder to create"),
        (("", "my photos"), "'': expected the name of a folder to create"),
        (("nowhere/..", "my photos"), "'nowhere/..': expected the name of a folder to create"),
        (("cells", ""), "--images '': expected a folder, an archive"),
        (("cells", "my photos", "-S", "seed=3"), "-S seed=3: expected a parameter of the dataset"),
        (("cells", "my photos", "-S", "dataset.source.laoyut=classes"), "Did you mean layout"),
        (("cells", "my photos", "-S", "x=[a"), r"-S x=\[a: "),
        (("cells", "full/file"), "expected a folder or one of"),
    ):
        with pytest.raises(UserError, match=message):
            command(["new", arguments[0], "--images", *arguments[1:]])
    assert {path.name for path in Path().iterdir()} == {"my photos", "full", "flat", "strange"}
    assert Path("full/file").read_text() == "mine"
