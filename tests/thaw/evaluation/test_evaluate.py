import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from thaw.errors import UserError
from thaw.evaluation import metrics
from thaw.evaluation.evaluate import evaluate
from thaw.storage.arrays import write_array_folder

CLASSES = ["whole", "broken"]
SPLITS = ["train"] * 6 + ["validation"] * 4 + ["test"] * 14 + ["skipped", "unused"]
RECORD = {"kept": 3, "epochs": 5, "parameters": 90, "trained": 80, "start": None}
SETTINGS = {"seed": 7}


@pytest.fixture
def rows(tmp_path, monkeypatch) -> pd.DataFrame:
    """Return the split of a project that has a trained model `mine`."""
    monkeypatch.chdir(tmp_path)
    numbers = np.arange(len(SPLITS))
    classes = numbers // 2 % 2
    table = pd.DataFrame(
        {
            "pixel_sha256": [f"{number:032x}" for number in numbers],
            "label": [CLASSES[n] for n in classes],
            "class": classes,
            "group": np.where(numbers % 3, "mono", "poly"),
            "confidence": "",
            "split": SPLITS,
        }
    )
    picture = np.zeros((8, 8, 3), "uint8")
    write_array_folder("data/images", list(table["pixel_sha256"]), lambda key: picture, {})
    table.to_csv("data/split.csv", index=False)
    Path("models/mine").mkdir(parents=True)
    history = [{"loss": 0.5, "accuracy": 0.5}]
    record = {**RECORD, "settings": SETTINGS, "history": history}
    Path("models/mine/record.json").write_text(json.dumps(record))
    evaluated = {"bootstrap": 100, "ece_bins": 5, "gallery": 2}
    parameters = {"dataset": {"name": "cells"}, "evaluate": evaluated}
    Path("params.yaml").write_text(yaml.safe_dump(parameters))
    return table


def predict(keys: list[str]) -> np.ndarray:
    """Return class probabilities, more confident for each next image and wrong for a third."""
    numbers = np.array([int(key, 16) for key in keys])
    broken = numbers // 2 % 2 == (numbers % 3 != 1)
    second = 0.5 + np.where(broken, 1, -1) * (0.01 + 0.015 * numbers)
    return np.stack([1 - second, second], axis=1)


def test_the_results_are_measured_on_the_test_images(rows):
    explained = []

    def explain(keys, classes):
        explained.append((keys, list(classes)))
        return np.ones((len(keys), 2, 2))

    evaluate("mine", SimpleNamespace(probabilities=predict, maps=explain, explained=4))
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    true, probabilities = test["class"].to_numpy(), predict(list(test["pixel_sha256"]))
    measured = metrics.measure(true, probabilities, 5)
    validation = rows[rows["split"] == "validation"]
    judged, keys = validation["class"].to_numpy(), list(validation["pixel_sha256"])
    details = json.loads(Path("results/details/mine.json").read_text())
    assert details.pop("intervals_95")
    assert details == {
        "model": "mine",
        "dataset": "cells",
        "classes": CLASSES,
        "positive": "broken",
        "counts": {"train": 6, "validation": 4, "test": 14},
        "skipped": 1,
        "metrics": measured,
        "per_class": metrics.per_class(true, probabilities, CLASSES),
        "per_group": {
            name: {"count": len(part), **metrics.measure(true[part], probabilities[part], 5)}
            for name in ("mono", "poly")
            for part in [np.flatnonzero(test["group"] == name)]
        },
        "at_half": metrics.at_half(true, probabilities),
        "confusion": metrics.confusion(true, probabilities),
        "validation": {**metrics.accuracy_and_loss(judged, predict(keys)), "count": 4},
        "cost": 90,
        "training": RECORD,
        "settings": SETTINGS,
    }
    compared = json.loads(Path("results/validation/mine.json").read_text())
    assert compared == {key: details[key] for key in ("model", "validation", "cost")}
    short = json.loads(Path("results/metrics/mine.json").read_text())
    expected = {**measured, "epoch": 3, "skipped": 1}
    assert short == pytest.approx(expected, abs=1e-5) and short.keys() == expected.keys()
    (keys, classes) = explained[0]
    assert len(keys) == 4 and classes == list(predict(keys).argmax(axis=1))
    predictions = pd.read_csv("results/predictions/mine/predictions.csv")
    assert list(predictions["pixel_sha256"]) == list(test["pixel_sha256"])
    for kind in ("reports", "plots"):
        assert any(Path("results", kind, "mine").iterdir())


def test_intervals_of_a_grouped_split_resample_groups(rows):
    test = rows[rows["split"] == "test"]
    rows["split_group"] = [f"{split} {n // 4}" for n, split in enumerate(rows["split"])]
    rows.to_csv("data/split.csv", index=False)
    evaluate("mine", SimpleNamespace(explained=4, probabilities=predict, maps=lambda *_: None))
    details = json.loads(Path("results/details/mine.json").read_text())
    groups = rows.loc[test.index, "split_group"].to_numpy()
    assert details["test_groups"] == len(set(groups)) == 4
    probabilities = predict(test["pixel_sha256"].to_list())
    expected = metrics.intervals(test["class"].to_numpy(), probabilities, 100, groups)
    assert details["intervals_95"] == expected


def test_validation_data_may_be_missing(rows):
    rows["split"] = rows["split"].replace("validation", "train")
    rows.to_csv("data/split.csv", index=False)
    evaluate("mine", SimpleNamespace(probabilities=predict, maps=lambda *_: None, explained=0))
    assert json.loads(Path("results/details/mine.json").read_text())["validation"] is None


def test_without_test_data_nothing_is_written(rows):
    rows["split"] = rows["split"].replace("test", "validation")
    rows.to_csv("data/split.csv", index=False)
    with pytest.raises(UserError, match="no test data. Set dataset.split.test above 0"):
        evaluate("mine", SimpleNamespace(probabilities=predict, maps=None, explained=4))
    assert not Path("results").exists()
