import pandas as pd
import pytest

from thaw.data.consistency import left_out, reject_lost_classes
from thaw.errors import UserError


def table(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """Return an index of rows (path, label, split, pixels)."""
    return pd.DataFrame(rows, columns=["path", "label", "split", "pixel_sha256"])


CONTRADICTION = table(
    ("images/a/1.jpg", "a", "", "x"), ("images/b/2.jpg", "b", "", "x"),
    ("images/a/3.jpg", "a", "", "y"), ("images/a/4.jpg", "a", "", "y"),
)  # fmt: skip
LEAK = table(
    ("train/a/1.jpg", "a", "train", "x"), ("test/a/1.jpg", "a", "test", "x"),
    ("val/a/1.jpg", "a", "validation", "x"), ("train/a/2.jpg", "a", "train", "y"),
    ("val/a/2.jpg", "a", "validation", "y"), ("train/a/3.jpg", "a", "train", "z"),
    ("train/a/4.jpg", "a", "train", "z"),
)  # fmt: skip


def test_an_image_with_two_labels_stops_the_run_with_paths_and_labels():
    with pytest.raises(UserError, match=r"1 images have .*\n  a/1.jpg \(a\) = b/2.jpg \(b\)\n"):
        left_out(CONTRADICTION, "stop", "stop")


def test_all_files_of_a_contradictory_image_are_left_out_on_request(capsys):
    assert left_out(CONTRADICTION, "drop", "stop").tolist() == [True, True, False, False]
    assert "Left out 2 files of 1 images with two labels" in capsys.readouterr().out


def test_an_image_in_two_splits_stops_the_run_with_paths_and_splits():
    with pytest.raises(UserError) as refusal:
        left_out(LEAK, "stop", "stop")
    said = str(refusal.value)
    assert "2 images are in two splits" in said and "-S dataset.on_leak=drop" in said
    assert "val/a/1.jpg (validation)" in said and "a/3.jpg" not in said


def test_leaks_are_removed_from_the_earlier_splits_on_request(capsys):
    kept = LEAK[~left_out(LEAK, "stop", "drop")]
    assert kept["path"].tolist() == [
        "test/a/1.jpg", "val/a/2.jpg", "train/a/3.jpg", "train/a/4.jpg"
    ]  # fmt: skip
    assert "Left out 2 train, 1 validation files" in capsys.readouterr().out


def test_a_class_without_a_readable_image_stops_the_run():
    rows = [
        {"path": f"images/{label}/{n}.heic", "label": label, "problem": problem}
        for label, problem in (("phone", "no image"), ("camera", ""), ("", "zero bytes"))
        for n in range(3)
    ]
    with pytest.raises(UserError, match=r"no image of 1 of 3.*\n  phone: 3 files, such as phone"):
        reject_lost_classes(rows)
    rows[0]["problem"] = ""
    reject_lost_classes(rows)
