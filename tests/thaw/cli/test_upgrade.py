"""`thaw upgrade`: merge another version of the library into a project."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, files_in
from tests.pipeline.conftest import draw
from thaw.cli.main import command
from thaw.cli.wheel import EPOCH, METADATA, Wheel, make_wheel, template_files
from thaw.errors import UserError

VERSION = "9.0.0"
NEW_PARAMETER = ("conf/config.yaml", "seed: 0", "seed: 1")
BATCH_SIZE = ("conf/backbone/vgg16.yaml", "batch_size: ", "batch_size: 1")


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Wheel:
    return make_wheel(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="module")
def created(tmp_path_factory, released, store) -> Path:
    """A project of `thaw new`, with its images beside it."""
    folder = tmp_path_factory.mktemp("created")
    draw(folder / "photos", {"disc": 3, "square": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        assert command(["new", "cells", "--images", "photos"]) == 0
    return folder / "cells"


@pytest.fixture
def project(created, tmp_path, monkeypatch) -> Path:
    """A copy of the project as the current folder."""
    shutil.copytree(created, tmp_path / "cells")
    monkeypatch.chdir(tmp_path / "cells")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return tmp_path / "cells"


@pytest.fixture
def newer(released, tmp_path) -> Callable[..., str]:
    """A function that writes a wheel of version 9.0.0 with edited files, and returns its path."""

    def write(*edits: tuple[str, str, str], added: dict[str, str] | None = None) -> str:
        path = tmp_path / f"thaw-{VERSION}-py3-none-any.whl"
        with zipfile.ZipFile(released.path) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                text = old.read(name)
                for file, before, after in edits:
                    if name in (file, f"thaw/templates/{file}"):
                        assert before.encode() in text, f"{file} has no {before!r}"
                        text = text.replace(before.encode(), after.encode(), 1)
                new.writestr(zipfile.ZipInfo(name, EPOCH), text)
            for file, content in (added or {}).items():
                new.writestr(zipfile.ZipInfo(f"thaw/templates/{file}", EPOCH), content)
        return str(path)

    return write


def edit(file: str, before: str, after: str) -> None:
    text = Path(file).read_text()
    assert before in text
    Path(file).write_text(text.replace(before, after, 1))


def commit() -> None:
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "Edit"], check=True)


def tracked(project: Path) -> dict[str, bytes]:
    return {name: text for name, text in files_in(project).items() if not name.startswith(".git/")}


def test_edits_are_kept_and_the_new_version_is_merged(project, newer, capsys):
    edit("stages/split.py", '"""', '"""Edited by the owner. ')
    edit("conf/subnet/fc256.yaml", "dropout: ", "dropout: 0")
    Path("conf/subnet/mine.yaml").write_text("defaults: [fc256]\n")
    subprocess.run(["git", "add", "--all"], check=True)
    commit()
    new = newer(
        NEW_PARAMETER,
        ("stages/features.py", '"""', '"""New version. '),
        ("requirements-cpu.lock", "absl-py==", "absl-py==9."),
        added={"conf/optimizer/new.yaml": "name: sgd\n"},
    )
    assert command(["upgrade", new]) == 0
    said = capsys.readouterr().out
    assert f"by Thaw {VERSION}" in said and "seed: 0 -> 1" in said
    assert "Every stage will run again" in said and "reused from the store" in said
    assert "Edited by the owner" in Path("stages/split.py").read_text()
    assert "New version" in Path("stages/features.py").read_text()
    assert Path("conf/optimizer/new.yaml").exists() and Path("conf/subnet/mine.yaml").exists()
    pinned = Wheel(Path(f"vendor/thaw-{VERSION}-py3-none-any.whl"))
    assert [path.name for path in Path("vendor").iterdir()] == [pinned.path.name]
    for lock in ("requirements-cpu.lock", "requirements-gpu.lock"):
        last = Path(lock).read_text().splitlines()[-1]
        assert last == f"./vendor/{pinned.path.name} --hash=sha256:{pinned.digest}"
    assert "absl-py==9." in Path("requirements-cpu.lock").read_text()
    code = yaml.safe_load(Path("dvc.yaml").read_text())["vars"][0]["code"]
    assert set(code.values()) == {f"vendor/{pinned.path.name}"}
    assert pinned.path.name in Path("pyproject.toml").read_text()
    values = yaml.safe_load(Path("params.yaml").read_text())
    assert values["seed"] == 1 and values["dataset"]["name"] == "cells"
    subprocess.run(["git", "add", "--all"], check=True)
    commit()
    assert command(["upgrade", new]) == 0
    assert f"already has this version, Thaw {VERSION}" in capsys.readouterr().out


def test_conflicts_change_nothing_and_can_be_resolved(project, newer, capsys):
    edit("conf/config.yaml", "seed: 0", "seed: 7")
    edit("conf/config.yaml", "bootstrap: 1000", "bootstrap: 2000")
    commit()
    before, new = tracked(project), newer(NEW_PARAMETER)
    with pytest.raises(UserError) as error:
        command(["upgrade", new])
    assert "1 files have edits that conflict" in str(error.value)
    assert "seed: 7" in str(error.value) and "seed: 1" in str(error.value)
    assert "bootstrap" not in str(error.value)
    assert tracked(project) == before
    for side, seed in (("ours", 7), ("theirs", 1)):
        assert command(["upgrade", new, f"--{side}", "conf/config.yaml"]) == 0
        values = yaml.safe_load(Path("params.yaml").read_text())
        assert (values["seed"], values["evaluate"]["bootstrap"]) == (seed, 2000)
        subprocess.run(["git", "reset", "--hard", "--quiet"], check=True)
        subprocess.run(["git", "clean", "--force", "--quiet", "vendor"], check=True)


def test_renamed_and_new_parameters_are_listed(project, newer, capsys):
    new = newer(
        ("conf/dataset/folder.yaml", "on_leak: stop", "margin: 3\non_leak: stop"),
        ("conf/dataset/folder.yaml", "max_train_images:", "most_images:"),
        ("thaw/config/dataset.py", "max_train_images:", "margin: int\n    most_images:"),
        ("thaw/config/renamed.py", "dataset.limit", "dataset.max_train_images"),
        ("thaw/config/renamed.py", '"dataset.max_train_images",', '"dataset.most_images",'),
    )
    assert command(["upgrade", new]) == 0
    said = capsys.readouterr().out
    assert "dataset.max_train_images was renamed to dataset.most_images" in said
    assert "dataset.margin is new: 3" in said and "dataset.most_images is new: null" in said


def test_choices_of_earlier_runs_are_listed_to_be_made_again(project, newer, capsys):
    edit("params.yaml", "bootstrap: 1000", "bootstrap: 50")
    commit()
    assert command(["upgrade", newer(NEW_PARAMETER)]) == 0
    assert "dvc exp run -S evaluate.bootstrap=50" in capsys.readouterr().out


def test_a_removed_file_stays_removed(project, newer, capsys):
    Path("conf/runtime/ray.yaml").unlink()
    commit()
    new = newer(("conf/runtime/ray.yaml", "kind: ray", "kind: ray # new"))
    assert command(["upgrade", new]) == 0
    assert not Path("conf/runtime/ray.yaml").exists()
    assert "conf/runtime/ray.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([("conf/config.yaml", "seed: 0", "seed: -1")], "Nothing was changed. seed"),
        ([("thaw/composition.py", "import", "raise OSError('broken')\nimport")], "broken"),
    ],
)
def test_a_failure_changes_nothing(project, newer, edits, message):
    before = tracked(project)
    with pytest.raises(UserError, match=message):
        command(["upgrade", newer(*edits)])
    assert tracked(project) == before


def test_a_disk_error_restores_every_file(project, newer, monkeypatch):
    before, write = tracked(project), Path.write_bytes

    def fail_once(path: Path, content: bytes) -> int:
        if path.name == "params.yaml" and path.parent == project and b"seed: 1" in content:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    new = newer(NEW_PARAMETER)
    monkeypatch.setattr(Path, "write_bytes", fail_once)
    with pytest.raises(UserError, match="No space left"):
        command(["upgrade", new])
    assert tracked(project) == before


def test_unusable_projects_and_wheels_are_refused(project, newer, tmp_path, monkeypatch):
    new = newer(NEW_PARAMETER)
    (tmp_path / "thaw-1.whl").write_text("no archive")
    for arguments, message in (
        (["nowhere.whl"], "nowhere.whl: expected a wheel of Thaw"),
        ([str(tmp_path / "thaw-1.whl")], "thaw-1.whl: expected a wheel of Thaw"),
        (["--from", str(tmp_path)], "expected a clone of Thaw"),
    ):
        with pytest.raises(UserError, match=message):
            command(["upgrade", *arguments])
    edit("stages/split.py", '"""', '"""Edited. ')
    with pytest.raises(UserError, match="not clean. Commit or stash first:\n  +M stages/split.py"):
        command(["upgrade", new])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected a project that `thaw new` created"):
        command(["upgrade", new])


def test_a_clone_is_built_and_merged(project, tmp_path):
    clone = tmp_path / "clone"
    names = [*template_files(ROOT), *METADATA, "thaw", "hydra_plugins", "docs"]
    for name in names:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, clone / name)
    edit(str(clone / "pyproject.toml"), 'version = "', 'version = "9')
    assert command(["upgrade", "--from", str(clone)]) == 0
    (path,) = Path("vendor").iterdir()
    assert path.name.startswith("thaw-9") and path.name in Path("dvc.yaml").read_text()
