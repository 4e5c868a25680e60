import csv
from collections import Counter

import pytest
import yaml

from stages.split import classes, main
from thaw.data.split_table import SplitTable
from thaw.errors import UserError
from thaw.storage.tables import INDEX_COLUMNS


@pytest.fixture
def split(tmp_path, monkeypatch):
    """Return a function that splits images with these labels and returns data/split.csv."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    def run(*labels: str, problems=(), positive=None, limit=None, **changed) -> list[dict]:
        parameters_of_split = {
            "test": 0.25,
            "validation": 0.2,
            "stratify": ["label"],
            "seed": 0,
            **changed,
        }
        parameters = {
            "dataset": {
                "split": parameters_of_split,
                "positive_class": positive,
                "max_train_images": limit,
                "on_contradiction": "stop",
                "on_leak": "stop",
            }
        }
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(parameters))
        with open("data/index.csv", "w", newline="") as file:
            table = csv.DictWriter(file, INDEX_COLUMNS, restval="")
            table.writeheader()
            for number, label in enumerate(labels):
                row = {"path": f"{number}.jpg", "sha256": f"{number:064x}", "label": label}
                row |= (
                    {"problem": "zero bytes"}
                    if label in problems
                    else {"pixel_sha256": f"{number:x}"}
                )
                table.writerow(row)
        main()
        with open("data/split.csv", newline="") as file:
            return list(csv.DictReader(file))

    return run


def test_every_image_has_a_split_label_and_class_number(split):
    rows = split(*["cat", "dog"] * 20)
    assert len(rows) == 40 and {row["split"] for row in rows} == {"train", "validation", "test"}
    assert {(row["label"], row["class"]) for row in rows} == {("cat", "0"), ("dog", "1")}
    assert [row["pixel_sha256"] for row in rows] == sorted(row["pixel_sha256"] for row in rows)


def test_labels_are_kept_as_text(split):
    rows = split(*["007", "7", "None", "1e3"] * 10)
    numbered = {row["label"]: row["class"] for row in rows}
    assert numbered == {"007": "0", "1e3": "1", "7": "2", "None": "3"}


def test_unreadable_images_are_skipped_even_if_they_are_a_whole_class(split):
    rows = split(*["cat", "dog", "bad"] * 10, problems=["bad"])
    assert {row["split"] for row in rows if row["label"] == "bad"} == {"skipped"}
    assert {row["class"] for row in rows} == {"0", "1", ""}


def test_training_images_beyond_the_limit_are_unused(split):
    unlimited = split(*["cat", "dog", "bad"] * 20, problems=["bad"])
    rows = split(*["cat", "dog", "bad"] * 20, problems=["bad"], limit=10)
    counts = Counter(row["split"] for row in rows)
    assert counts == {"train": 10, "unused": 14, "validation": 6, "test": 10, "skipped": 20}
    for row, before in zip(rows, unlimited, strict=True):
        expected = {"train", "unused"} if before["split"] == "train" else {before["split"]}
        assert row["split"] in expected
    assert SplitTable("data/split.csv").skipped == 20
    assert len(SplitTable("data/split.csv").table) == 26


def test_positive_class_has_the_last_number(split):
    rows = split(*["1", "2"] * 20, positive="1")
    assert {row["label"]: row["class"] for row in rows} == {"2": "0", "1": "1"}
    assert classes({"b", "a", "c"}, "a") == ["b", "c", "a"]


def test_classes_without_training_images_are_refused(split):
    with pytest.raises(
        UserError, match="no training image is left of owl. Expected at least one of each cl"
    ):
        split(*["cat", "dog"] * 40, "owl", stratify=[], seed=2)


def test_images_of_a_group_are_in_one_split_and_the_table_says_which(split, capsys):
    rows = split(*["cat", "dog", "bad"] * 20, problems=["bad"], group="^(.)", limit=20)
    assert list(rows[0])[-1] == "split_group"
    used = [row for row in rows if row["split"] != "skipped"]
    splits = {row["split_group"]: row["split"] for row in used}
    assert all(splits[row["split_group"]] == row["split"] for row in used)
    assert {row["split_group"] for row in rows if row["split"] == "skipped"} == {""}
    assert "by dataset.split.group = ^(.) (test" in capsys.readouterr().out
    table = SplitTable("data/split.csv")
    assert table.grouped and set(table.table["split_group"]) < set("0123456789")
    assert "split_group" not in split(*["cat", "dog"] * 20)[0]
    assert not SplitTable("data/split.csv").grouped


def test_many_classes_are_summarized_in_a_few_lines(split, capsys):
    split(*[f"class {n:03}" for n in range(150)] * 2, test=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert "train          150 images of 150 classes" in lines
    assert len(lines) == 5 and " and 80 more, so no result covers them." in lines[-1]


def test_classes_without_test_images_are_reported(split, capsys):
    split(*["cat", "dog"] * 20, "owl", "owl", test=0.05)
    assert "\nNo test image is of owl, so no result covers them.\n" in capsys.readouterr().out


def test_unknown_positive_class_and_single_class_are_refused():
    with pytest.raises(
        UserError, match=r"dataset.positive_class = 'dgo': .* cat, dog. Did you mean dog\?"
    ):
        classes({"cat", "dog"}, "dgo")
    with pytest.raises(UserError, match="The dataset has one class"):
        classes({"cat"}, None)
