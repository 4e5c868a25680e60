"""The stages download, preprocess and split on small inputs as users have them."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import download, preprocess, split
from thaw.data.split_table import SplitTable
from thaw.errors import UserError


def draw(folder: Path, names: str, count: int = 10, first: int = 0) -> None:
    """Write noise images into a folder for each class; `first` makes them different."""
    for number, name in enumerate(names.split()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            pixels = np.random.default_rng((first, number, n)).integers(0, 256, (12, 16, 3))
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{n}.png")


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    (tmp_path / "data").mkdir()
    return tmp_path / "photos"


def run(**changed) -> Counter:
    """Run the three stages and return the number of files by split and label."""
    dataset = {
        "source": {"kind": "folder", "path": "photos"},
        "image": {"size": 8, "resampling": "bicubic", "colour": "rgb"},
        "split": {"test": 0.2, "validation": 0.2, "stratify": ["label"], "seed": 0},
        "max_train_images": None,
        "positive_class": None,
        "on_bad_image": "stop",
        "on_leak": "stop",
        "on_contradiction": "stop",
        **changed,
    }
    Path("params.yaml").write_text(yaml.safe_dump({"dataset": dataset}))
    download.main()
    preprocess.main()
    split.main()
    SplitTable()
    with open("data/split.csv", newline="") as file:
        return Counter((row["split"], row["label"]) for row in csv.DictReader(file))


def test_doubled_split_folders_give_splits_and_classes(photos, capsys):
    draw(photos / "seg_train/seg_train", "sea street forest")
    draw(photos / "seg_test/seg_test", "sea street forest", 4, first=1)
    counts = run()
    assert {label for _, label in counts} == {"sea", "street", "forest"}
    assert sum(counts[split, "sea"] for split in ("train", "validation")) == 10
    assert counts["test", "sea"] == 4
    said = capsys.readouterr().out
    assert "photos: seg_train/ and seg_test/, 3 classes, 42 images\n" in said


def test_unlabelled_test_images_are_kept_separately(photos):
    draw(photos / "train", "cat dog")
    draw(photos, "test", 5, first=1)
    counts = run()
    assert counts["unlabelled", ""] == 5 and sum(counts.values()) == 25
    assert counts["test", "cat"] == counts["test", "dog"] == 2


def test_a_class_may_lack_test_images(photos, capsys):
    draw(photos / "train", "a0 a90 a180")
    draw(photos / "test", "a0 a90", 4, first=1)
    assert run()["test", "a0"] == 4
    said = capsys.readouterr().out
    assert "38 images; no test image of a180" in said


def test_contradictions_stop_the_run_or_are_left_out(photos):
    draw(photos, "a b")
    shutil.copy(photos / "a/3.png", photos / "b/copy.png")
    with pytest.raises(UserError, match=r"1 images have two.*\n  a/3.png \(a\) = b/copy.png \(b\)"):
        run()
    counts = run(on_contradiction="drop")
    assert counts["unused", "a"] == counts["unused", "b"] == 1 and sum(counts.values()) == 21


def test_leaks_stop_the_run_or_are_removed_from_training(photos):
    draw(photos / "train", "a b")
    draw(photos / "test", "a b", 4, first=1)
    shutil.copy(photos / "test/a/0.png", photos / "train/a/copy.png")
    with pytest.raises(UserError, match="1 images are in two splits"):
        run()
    counts = run(on_leak="drop")
    assert counts["unused", "a"] == 1 and counts["test", "a"] == 4


@pytest.mark.parametrize("on_bad_image", ["stop", "skip"])
def test_a_class_whose_images_cannot_be_read_stops_the_run(photos, on_bad_image):
    draw(photos, "b c")
    (photos / "a").mkdir()
    for n in range(4):
        (photos / "a" / f"IMG_{n}.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1" + bytes([n]))
    with pytest.raises(UserError, match="no image of 1 of 3 classes.*\n  a: 4 files"):
        run(on_bad_image=on_bad_image)
    if on_bad_image == "skip":
        draw(photos, "a", 5, first=1)
        assert run(on_bad_image="skip")["skipped", "a"] == 4
