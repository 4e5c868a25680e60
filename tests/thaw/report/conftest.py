"""A small project after a run: real stages on generated images, without TensorFlow."""

import csv
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages import audit, download, evaluate, preprocess, split, train_subnet
from tests.conftest import ROOT
from tests.pipeline.conftest import draw
from thaw.storage.arrays import ArrayFolder, write_array_folder
from thaw.storage.npz import save_npz

OVERRIDES = [  # two logistic regressions; gap256 has no results
    "models=vgg16",
    "dataset=folder",
    "dataset.source.path=photos",
    "dataset.image.size=32",
    "dataset.on_bad_image=skip",
    "evaluate.bootstrap=100",
    "~subnet@subnets.fc256",
    "~finetune@finetunes.finetuned",
    "+subnet@subnets.other=logistic",
    "subnets.other.C=1e-6",
]
COUNTS = {"disc": 40, "square": 28}  # images of each class


def parameters(*overrides: str) -> dict:
    """Return what the repository's conf/ composes to with `overrides`."""
    from thaw.composition import compose

    previous = os.getcwd()
    os.chdir(ROOT)
    try:
        return compose(*overrides)
    finally:
        os.chdir(previous)


def run_pipeline(
    folder: Path,
    counts: dict[str, int],
    *overrides: str,
    grouped: bool = True,
    chosen=(),
    stop: bool = False,
) -> Path:
    """Create a project in `folder`, make it the current folder and run its stages.

    Args:
        folder: must not exist.
        counts: number of images by class.
        overrides: added to `chosen`.
        grouped: whether the images belong to two groups.
        chosen: overrides to use instead of OVERRIDES.
        stop: whether to stop after the stage split.
    """
    folder.mkdir()
    os.chdir(folder)
    shutil.copytree(ROOT / "conf", "conf")
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    values = parameters(*(chosen or OVERRIDES), *overrides)
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    draw(Path("photos"), counts)
    _mislabel(Path("photos"))
    (Path("photos") / min(counts) / "broken.png").write_bytes(b"not an image")
    git("init", "--quiet", "--initial-branch=main")
    download.main()
    if grouped:
        _group(Path("data/raw/index.csv"))
    preprocess.main()
    split.main()
    if stop:
        return folder
    if values["networks"]:
        train_network_on_pixels(next(iter(values["networks"])))
        return folder
    images = ArrayFolder("data/images")
    # instead of a backbone's features, which need TensorFlow: the pixels of 4 x 4 patches
    recipe = {"weights": None}
    write_array_folder("data/features/vgg16", images.keys, lambda key: patches(images[key]), recipe)
    Path("data/weights").mkdir()
    save_npz("data/weights/vgg16.npz", {"kernel": np.zeros(10, "float32")})
    for name in ("logistic", "other"):
        train_subnet.main(name)
        evaluate.main(name)
    audit.main("vgg16")
    commit("first")
    return folder


def train_network_on_pixels(name: str) -> None:
    """Train and evaluate a network with TensorFlow."""
    from stages import train_network

    git("commit", "--quiet", "--allow-empty", "--message", "start")  # DVCLive needs a commit
    train_network.main(name)
    evaluate.main(name)
    commit("first")


def patches(pixels: np.ndarray) -> np.ndarray:
    """Return an image (32, 32, 3), uint8, as patches (4, 4, 192), float32."""
    grid = pixels.reshape(4, 8, 4, 8, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(4, 4, -1).astype("float32") / 255


def _mislabel(photos: Path) -> None:
    """Move every sixth image to the next class, so that models make errors."""
    folders = sorted(photos.iterdir())
    moved = [(n, file) for n, f in enumerate(folders) for file in sorted(f.iterdir())[::6]]
    for number, file in moved:
        target = folders[(number + 1) % len(folders)]
        file.rename(target / f"from-{number}-{file.name}")


def _group(path: Path) -> None:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["group"] = ["north", "south"][number // 2 % 2]
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def commit(message: str) -> None:
    git("add", "--force", "results/metrics")
    git("commit", "--quiet", "--allow-empty", "--message", message)


@pytest.fixture(scope="session")
def after_a_run(tmp_path_factory, store) -> Path:
    """Return a project with two classes. Tests that change it use a copy, see `inside`."""
    previous = os.getcwd()
    try:
        return run_pipeline(tmp_path_factory.mktemp("report") / "two", COUNTS)
    finally:
        os.chdir(previous)


@pytest.fixture
def inside(after_a_run, tmp_path, monkeypatch) -> Path:
    """Return a copy of the project with two classes and make it the current folder."""
    shutil.copytree(after_a_run, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"
