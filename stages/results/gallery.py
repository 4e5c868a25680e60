"""A picture of test images: some that are right, and the most confidently wrong."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

COLUMNS = 6
RIGHT, WRONG = "#1b7837", "#b2182b"


def gallery(
    true: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    most: int,
    image,
    path: Path,
    title: str,
) -> None:
    """Draw up to `most` right and `most` wrong test images with true and predicted label.

    The right ones are spread evenly over the test data, the wrong ones are those with the highest
    probability for the wrong class.

    Args:
        image: gives the uint8 pixels (height, width, 1 or 3) of a test row's number.
    """
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right, wrong = np.flatnonzero(predicted == true), np.flatnonzero(predicted != true)
    if len(right):
        right = right[np.unique(np.linspace(0, len(right) - 1, most).astype(int))]
    shown_wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    groups = [
        (f"Right ({len(true) - len(wrong)} of {len(true)} test images)", right, RIGHT),
        (f"Wrong, the most confident first ({len(wrong)} of {len(true)})", shown_wrong, WRONG),
    ]
    rows = [max(1, -(-len(chosen) // COLUMNS)) for _, chosen, _ in groups]
    figure = plt.figure(figsize=(COLUMNS * 1.7, 0.5 + sum(rows) * 2.15 + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold")
    parts = figure.subfigures(2, 1, height_ratios=rows)
    for part, (heading, chosen, colour), count in zip(parts, groups, rows, strict=True):
        part.suptitle(heading, fontsize=11, color=colour)
        axes = part.subplots(count, COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, number in zip(axes, chosen, strict=False):
            pixels = image(number)
            axis.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
            says = f"{classes[predicted[number]]} {confidence[number]:.0%}"
            if predicted[number] != true[number]:
                says += f"\nis {classes[true[number]]}"
            axis.set_title(says, fontsize=8, color=colour)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})  # no version in the bytes
    plt.close(figure)
