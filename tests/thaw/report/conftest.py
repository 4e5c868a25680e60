"""A small repository after a run: real stages on generated pictures, without TensorFlow."""

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

CHOSEN = [
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
"""Two logistic subnets; gap256 stays without results."""
COUNTS = {"disc": 40, "square": 28}


def parameters(*overrides: str) -> dict:
    """What conf/ composes to with these."""
    from thaw.composition import compose

    before = os.getcwd()
    os.chdir(ROOT)
    try:
        return compose(*overrides)
    finally:
        os.chdir(before)


def walk(
    folder: Path,
    counts: dict[str, int],
    *overrides: str,
    grouped: bool = True,
    chosen=(),
    stop: bool = False,
) -> Path:
    """Run the pipeline in `folder`, which is made and becomes the current one.

    Args:
        stop: go no further than to the split.
    """
    folder.mkdir()
    os.chdir(folder)
    shutil.copytree(ROOT / "conf", "conf")
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    values = parameters(*(chosen or CHOSEN), *overrides)
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    draw(Path("photos"), counts)
    _mislabel(Path("photos"))
    (Path("photos") / min(counts) / "broken.png").write_bytes(b"no picture")
    git("init", "--quiet", "--initial-branch=main")
    download.main()
    if grouped:
        _group(Path("data/raw/index.csv"))
    preprocess.main()
    split.main()
    if stop:
        return folder
    if values["networks"]:
        network(next(iter(values["networks"])))
        return folder
    images = ArrayFolder("data/images")
    # in place of a backbone's, which would start TensorFlow: each place has the pixels of a patch
    recipe = {"weights": None}
    write_array_folder("data/features/vgg16", images.keys, lambda key: patches(images[key]), recipe)
    for name in ("logistic", "other"):
        train_subnet.main(name)
        evaluate.main(name)
    audit.main("vgg16")
    commit("first")
    return folder


def network(name: str) -> None:
    """Train and evaluate on pixels, by TensorFlow."""

    from stages import train_network

    git("commit", "--quiet", "--allow-empty", "--message", "start")  # DVCLive asks for one
    train_network.main(name)
    evaluate.main(name)
    commit("first")


def patches(pixels: np.ndarray) -> np.ndarray:
    """(32, 32, 3) as (4, 4, 192)."""
    cut = pixels.reshape(4, 8, 4, 8, 3).transpose(0, 2, 1, 3, 4)
    return cut.reshape(4, 4, -1).astype("float32") / 255


def _mislabel(photos: Path) -> None:
    """Put each sixth picture under the next class, so that models are wrong about some."""
    folders = sorted(photos.iterdir())
    moved = [(n, file) for n, f in enumerate(folders) for file in sorted(f.iterdir())[::6]]
    for number, file in moved:
        into = folders[(number + 1) % len(folders)]
        file.rename(into / f"from-{number}-{file.name}")


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
    """Of two classes; copy it before you change it."""
    before = os.getcwd()
    try:
        return walk(tmp_path_factory.mktemp("walk") / "two", COUNTS)
    finally:
        os.chdir(before)


@pytest.fixture
def inside(after_a_run, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(after_a_run, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"
