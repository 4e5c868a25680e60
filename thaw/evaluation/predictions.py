"""What a model says of each test image, and where it looked: results/predictions/NAME."""

from pathlib import Path

import numpy as np
import pandas as pd

from thaw.storage.npz import save_npz

PREFIX = "probability of "


def write_predictions(
    folder: Path, test: pd.DataFrame, probabilities: np.ndarray, classes: list[str]
) -> None:
    """Write predictions.csv: a row for each test image in the order of the split, with pixels,
    label, predicted and the probability of each class.

    Args:
        test: columns pixels and label.
        probabilities: (n, classes).
    """
    table = test[["pixel_sha256", "label"]].copy()
    table["predicted"] = [classes[n] for n in probabilities.argmax(axis=1)]
    for number, label in enumerate(classes):
        table[f"{PREFIX}{label}"] = probabilities[:, number]
    table.to_csv(folder / "predictions.csv", index=False, lineterminator="\n", float_format="%.9g")


def read_predictions(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """The test images' identities, the classes, and the probabilities (n, classes)."""
    table = pd.read_csv(
        folder / "predictions.csv",
        dtype={"pixel_sha256": str, "label": str, "predicted": str},
        keep_default_na=False,
    )
    columns = [name for name in table if name.startswith(PREFIX)]
    classes = [name.removeprefix(PREFIX) for name in columns]
    return table["pixel_sha256"].tolist(), classes, table[columns].to_numpy("float64")


def most_informative(true: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """The numbers of up to `most` rows that are worth looking at, in ascending order: the most
    confidently wrong, up to a half, then right ones, spread evenly, then what room is left for.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
    """
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right, wrong = np.flatnonzero(predicted == true), np.flatnonzero(predicted != true)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    wrong = wrong[: max(most // 2, most - len(right))]
    count = min(len(right), most - len(wrong))
    right = right[np.linspace(0, max(len(right) - 1, 0), count).astype(int)]
    return np.sort(np.concatenate([wrong, right]))


def write_maps(folder: Path, numbers: np.ndarray, maps: np.ndarray | None) -> None:
    """Write maps.npz: `numbers` (n,) of rows of predictions.csv, and for each where in the image
    the predicted class was seen, `maps` (n, height, width), uint8, 255 where most.

    Args:
        maps: of any scale, 0 or more; none: no file is written.
    """
    if maps is None or not len(maps):
        return
    highest = np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo("float32").tiny)
    kept = {
        "numbers": numbers.astype("int32"),
        "maps": np.rint(maps / highest * 255).astype("uint8"),
    }
    save_npz(folder / "maps.npz", kept)


def read_maps(folder: Path) -> dict[int, np.ndarray]:
    """Maps (height, width) by the number of their row."""
    if not (folder / "maps.npz").exists():
        return {}
    with np.load(folder / "maps.npz") as held:
        return dict(zip(held["numbers"].tolist(), held["maps"], strict=True))
