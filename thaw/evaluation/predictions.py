"""Predictions and Grad-CAM maps of the test images: results/predictions/NAME/."""

from pathlib import Path

import numpy as np
import pandas as pd

from thaw.errors import UserError
from thaw.storage.npz import load_npz, save_npz
from thaw.storage.tables import RESTORE_HINT, read_table

PREFIX = "probability of "
TEXT = ["pixel_sha256", "label", "predicted"]  # columns of predictions.csv that are text


def write_predictions(
    folder: Path, test: pd.DataFrame, probabilities: np.ndarray, classes: list[str]
) -> None:
    """Write predictions.csv: a row for each test image, in the order of the split.

    Its columns are pixel_sha256, label, predicted and the probability of each class.

    Args:
        folder: to write to.
        test: rows with the columns pixel_sha256 and label.
        probabilities: (n, classes).
        classes: their labels.
    """
    table = test[["pixel_sha256", "label"]].copy()
    table["predicted"] = [classes[n] for n in probabilities.argmax(axis=1)]
    for number, label in enumerate(classes):
        table[f"{PREFIX}{label}"] = probabilities[:, number]
    table.to_csv(folder / "predictions.csv", index=False, lineterminator="\n", float_format="%.9g")


def read_predictions(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return the test images' pixel hashes, the classes, and the probabilities (n, classes).

    Raises:
        UserError: predictions.csv is damaged.
    """
    file, text = folder / "predictions.csv", dict.fromkeys(TEXT, str)
    table = read_table(file, TEXT, dtype=text)
    columns = [name for name in table if name.startswith(PREFIX)]
    classes = [name.removeprefix(PREFIX) for name in columns]
    try:
        values = table[columns].to_numpy("float64")
    except ValueError as error:
        raise UserError(f"{file}: {error}. Expected probabilities. {RESTORE_HINT}") from None
    return table["pixel_sha256"].tolist(), classes, values


def most_informative(true: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """Choose the rows that are most worth looking at.

    Up to half of them are the most confident errors. The rest are correct predictions, spread
    evenly, or more errors if there are too few.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        most: how many rows to choose.

    Returns:
        Up to `most` row numbers, ascending.
    """
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right, wrong = np.flatnonzero(predicted == true), np.flatnonzero(predicted != true)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    wrong = wrong[: max(most // 2, most - len(right))]
    count = min(len(right), most - len(wrong))
    right = right[np.linspace(0, max(len(right) - 1, 0), count).astype(int)]
    return np.sort(np.concatenate([wrong, right]))


def write_maps(folder: Path, numbers: np.ndarray, maps: np.ndarray | None) -> None:
    """Write maps.npz: Grad-CAM maps, each scaled to uint8 with a maximum of 255.

    Args:
        folder: to write to.
        numbers: (n,) rows of predictions.csv.
        maps: (n, height, width), not negative; None or empty: no file is written.
    """
    if maps is None or not len(maps):
        return
    highest = np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo("float32").tiny)
    arrays = {
        "numbers": numbers.astype("int32"),
        "maps": np.rint(maps / highest * 255).astype("uint8"),
    }
    save_npz(folder / "maps.npz", arrays)


def read_maps(folder: Path) -> dict[int, np.ndarray]:
    """Return the maps (height, width) by row number of predictions.csv; empty without a file."""
    if not (folder / "maps.npz").exists():
        return {}
    arrays = load_npz(folder / "maps.npz")
    try:
        return dict(zip(arrays["numbers"].tolist(), arrays["maps"], strict=True))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder / 'maps.npz'} contains no maps. {RESTORE_HINT}") from None
