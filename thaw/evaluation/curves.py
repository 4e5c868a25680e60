"""Write the tables that DVC plots: x, y and the series of each point."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from thaw.evaluation.metrics import calibration

MOST_POINTS = 200  # of a curve; more are not visible


def write_curves(
    folder: Path,
    true: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    record: dict[str, Any],
    bins: int,
) -> None:
    """Write learning curves, confusion, ROC, precision-recall and reliability tables.

    The files are loss.csv, accuracy.csv, confusion.csv, roc.csv, precision_recall.csv and
    reliability.csv.

    Args:
        folder: to write to.
        true: (n,) class numbers.
        probabilities: (n, classes).
        classes: their labels.
        record: the content of record.json.
        bins: of the reliability diagram.
    """
    _learning(folder, record)
    predicted = probabilities.argmax(axis=1)
    _write(
        folder / "confusion.csv",
        ["actual", "predicted"],
        [(classes[t], classes[p]) for t, p in zip(true, predicted, strict=True)],
    )
    numbers = [1] if len(classes) == 2 else range(len(classes))
    roc, pr = [], []
    for number in numbers:
        positive = true == number
        if not 0 < positive.sum() < len(true):
            continue
        false_positive, recall, _ = roc_curve(positive, probabilities[:, number])
        roc += _points(false_positive, recall, classes[number])
        precision, recall, _ = precision_recall_curve(positive, probabilities[:, number])
        pr += _points(recall[::-1], precision[::-1], classes[number])
    _write(folder / "roc.csv", ["false_positive_rate", "recall", "series"], roc)
    _write(folder / "precision_recall.csv", ["recall", "precision", "series"], pr)
    groups = calibration(true, probabilities, bins)
    lowest = 1 / len(classes)
    points = [(g["confidence"], g["accuracy"], "model") for g in groups]
    points += [(lowest, lowest, "perfect"), (1.0, 1.0, "perfect")]
    _write(folder / "reliability.csv", ["confidence", "accuracy", "series"], points)


def _learning(folder: Path, record: dict[str, Any]) -> None:
    for metric in ("loss", "accuracy"):
        rows = []
        if record["start"]:
            rows.append((0, record["start"][metric], "validation"))
        for epoch, values in enumerate(record["history"], start=1):
            for series, name in (("train", metric), ("validation", f"val_{metric}")):
                if name in values:
                    rows.append((epoch, values[name], series))
        _write(folder / f"{metric}.csv", ["epoch", metric, "series"], rows)


def _points(x: np.ndarray, y: np.ndarray, series: str) -> list[tuple[Any, ...]]:
    kept = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return [(round(float(x[i]), 5), round(float(y[i]), 5), series) for i in kept]


def _write(path: Path, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
