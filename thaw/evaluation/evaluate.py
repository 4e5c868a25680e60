"""Measure a trained model on the test images and write its results."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from thaw.config.base import load_section, read_value
from thaw.config.dataset import Dataset
from thaw.config.evaluation import Evaluate
from thaw.data.split_table import SplitTable
from thaw.errors import UserError
from thaw.evaluation.classification_report import write_report
from thaw.evaluation.curves import write_curves
from thaw.evaluation.gallery import gallery
from thaw.evaluation.metrics import (
    accuracy_and_loss,
    at_half,
    confusion,
    intervals,
    measure,
    per_class,
)
from thaw.evaluation.predictions import most_informative, write_maps, write_predictions
from thaw.evaluation.selection import inference_cost
from thaw.storage.arrays import ArrayFolder
from thaw.storage.files import atomic_write
from thaw.storage.tables import SPLIT_GROUP


class ModelOutputs(Protocol):
    """The outputs of a model that an evaluation needs."""

    explained: int  # images that get a Grad-CAM map

    def probabilities(self, keys: list[str]) -> np.ndarray:
        """Return the class probabilities (n, classes) of images by their pixel hashes."""

    def maps(self, keys: list[str], classes: np.ndarray) -> np.ndarray | None:
        """Return Grad-CAM maps (n, height, width), or None if there are none."""


def evaluate(name: str, outputs: ModelOutputs) -> None:
    """Measure a model on the test images and write its results.

    Accuracy and log loss are also measured on the validation images, by which stage best compares
    models. The results are results/metrics/NAME.json, results/validation/NAME.json,
    results/details/NAME.json, results/predictions/NAME/, results/reports/NAME/ and
    results/plots/NAME/.

    Args:
        name: of the model, a folder in models/.
        outputs: of that model, see thaw.evaluation.model_outputs.

    Raises:
        UserError: the split has no test data.
    """
    parameters = load_section(Evaluate, "evaluate")
    dataset = read_value(Dataset, "dataset", "name")
    rows, images = SplitTable(), ArrayFolder("data/images")
    test = rows.of("test")
    if test.empty:
        raise UserError("data/split.csv has no test data. Set dataset.split.test above 0.")
    true = test["class"].to_numpy()
    groups = test[SPLIT_GROUP].to_numpy() if rows.grouped else None
    probabilities = outputs.probabilities(test["pixel_sha256"].to_list())
    record = json.loads(Path(f"models/{name}/record.json").read_text())
    bins = parameters.ece_bins

    metrics = measure(true, probabilities, bins)
    validation = {"validation": _validation(rows, outputs), "cost": inference_cost(record)}
    short = {key: round(value, 5) for key, value in metrics.items() if value is not None}
    short |= {"epoch": record["kept"], "skipped": rows.skipped}
    details = {
        "model": name,
        "dataset": dataset,
        "classes": rows.classes,
        "positive": rows.classes[1] if len(rows.classes) == 2 else None,
        "counts": {split: len(rows.of(split)) for split in ("train", "validation", "test")},
        "skipped": rows.skipped,
        "metrics": metrics,
        "intervals_95": intervals(true, probabilities, parameters.bootstrap, groups),
        "per_class": per_class(true, probabilities, rows.classes),
        "per_group": {
            group: {"count": len(part), **measure(true[part], probabilities[part], bins)}
            for group, part in test.groupby("group").indices.items()
        },
        "at_half": at_half(true, probabilities),
        "confusion": confusion(true, probabilities),
        **({} if groups is None else {"test_groups": len(set(groups))}),
        **validation,
        "training": {
            key: record[key] for key in ("kept", "epochs", "parameters", "trained", "start")
        },
        "settings": record["settings"],
    }
    _write_json(Path(f"results/metrics/{name}.json"), short)
    _write_json(Path(f"results/validation/{name}.json"), {"model": name, **validation})
    _write_json(Path(f"results/details/{name}.json"), details)
    with atomic_write(f"results/predictions/{name}") as folder:
        folder.mkdir()
        write_predictions(folder, test, probabilities, rows.classes)
        explained = most_informative(true, probabilities, outputs.explained)
        keys = test["pixel_sha256"].iloc[explained].to_list()
        predicted = probabilities[explained].argmax(axis=1)
        write_maps(folder, explained, outputs.maps(keys, predicted))
    with atomic_write(f"results/reports/{name}") as folder:
        folder.mkdir()
        write_report(folder, true, probabilities, rows.classes)
    with atomic_write(f"results/plots/{name}") as folder:
        folder.mkdir()
        write_curves(folder, true, probabilities, rows.classes, record, bins)
        keys = test["pixel_sha256"].to_list()
        gallery(
            true,
            probabilities,
            rows.classes,
            parameters.gallery,
            lambda number: images[keys[number]],
            folder / "images.png",
            f"{name} on {dataset}: test accuracy {metrics['accuracy']:.1%}",
        )
    print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in short.items()))


def _validation(rows: SplitTable, outputs: ModelOutputs) -> dict[str, float] | None:
    """Return accuracy, log_loss and count of the validation images, or None without any."""
    validation = rows.of("validation")
    if validation.empty:
        return None
    probabilities = outputs.probabilities(validation["pixel_sha256"].to_list())
    true = validation["class"].to_numpy()
    return {**accuracy_and_loss(true, probabilities), "count": len(validation)}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
