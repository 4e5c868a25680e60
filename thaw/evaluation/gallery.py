"""A picture of test images: some that are right, and the most confidently wrong."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 6
RIGHT, WRONG = "#1b7837", "#b2182b"
HEADING, CELL = 0.45, 2.0
"""Heights in inches: of a group's heading, of an image with its labels."""


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
    height = 0.6 + sum(HEADING + count * CELL for count in rows)
    figure = plt.figure(figsize=(COLUMNS * 1.7, height))
    figure.suptitle(
        title, fontsize=13, fontweight="bold", y=1 - 0.3 / height, va="center", parse_math=False
    )
    top = height - 0.6
    for (heading, chosen, colour), count in zip(groups, rows, strict=True):
        figure.text(
            0.5, (top - 0.2) / height, heading, ha="center", va="center", color=colour, fontsize=11
        )
        top -= HEADING
        for place, number in enumerate(chosen):
            row, column = divmod(place, COLUMNS)
            # placed by hand: finding the places takes matplotlib longer than all the rest
            bottom = top - (row + 1) * CELL + 0.05
            axis = figure.add_axes(
                ((column + 0.05) / COLUMNS, bottom / height, 0.9 / COLUMNS, 1.55 / height)
            )
            axis.axis("off")
            axis.imshow(image(number).squeeze(), cmap="gray", vmin=0, vmax=255)
            says = f"{classes[predicted[number]]} {confidence[number]:.0%}"
            if predicted[number] != true[number]:
                says += f"\nis {classes[true[number]]}"
            axis.set_title(says, fontsize=8, color=colour, pad=3, parse_math=False)
        top -= count * CELL
    figure.savefig(path, dpi=110, metadata={"Software": None})  # no version in the bytes
    plt.close(figure)
