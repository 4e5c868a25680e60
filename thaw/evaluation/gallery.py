"""Draw test images that are classified correctly, and the most confident errors."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from thaw.evaluation.fonts import fallback_fonts, missing_characters, without

COLUMNS = 6
RIGHT, WRONG = "#1b7837", "#b2182b"
HEADING, CELL = 0.45, 2.0  # heights in inches: of a group's heading, of an image with its labels


def gallery(
    true: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    most: int,
    image: Callable[[int], np.ndarray],
    path: Path,
    title: str,
) -> None:
    """Draw correctly and wrongly classified test images with their true and predicted labels.

    The correct ones are spread evenly over the test data. The wrong ones are those with the highest
    probability of the wrong class. Characters that no font of this machine has are left out, with
    a message, and the number of the class is shown instead.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        classes: their labels.
        most: images of each kind.
        image: returns the uint8 pixels (height, width, 1 or 3) of a row number.
        path: of the PNG file to write.
        title: of the figure.
    """
    families, absent = fallback_fonts(missing_characters([title, *classes]))
    if absent:
        print(
            f"No font on this machine has the characters {''.join(sorted(absent))[:50]}, so "
            f"{path.name} shows class numbers. Noto Sans CJK or Noto Emoji, for example, have them."
        )
        title = without(title, absent)
        classes = [
            f"class {number} {without(name, absent)}".strip() if absent & {*name} else name
            for number, name in enumerate(classes)
        ]
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right, wrong = np.flatnonzero(predicted == true), np.flatnonzero(predicted != true)
    if len(right):
        right = right[np.unique(np.linspace(0, len(right) - 1, most).astype(int))]
    shown_wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    groups = [
        (f"Right ({len(true) - len(wrong)} of {len(true)} test images)", right, RIGHT),
        (f"Wrong, the most confident first ({len(wrong)} of {len(true)})", shown_wrong, WRONG),
    ]

    def label(number: int) -> str:
        text = f"{classes[predicted[number]]} {confidence[number]:.0%}"
        return text if predicted[number] == true[number] else f"{text}\nis {classes[true[number]]}"

    with plt.rc_context({"font.family": families}):
        _draw(groups, label, image, path, title)


def _draw(
    groups: list[tuple[str, np.ndarray, str]],
    label: Callable[[int], str],
    image: Callable[[int], np.ndarray],
    path: Path,
    title: str,
) -> None:
    """Draw groups of images, each with its heading, row numbers and colour."""
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
        for position, number in enumerate(chosen):
            row, column = divmod(position, COLUMNS)
            # fixed positions: matplotlib's automatic layout takes longer than everything else
            bottom = top - (row + 1) * CELL + 0.05
            axis = figure.add_axes(
                ((column + 0.05) / COLUMNS, bottom / height, 0.9 / COLUMNS, 1.55 / height)
            )
            axis.axis("off")
            axis.imshow(image(number).squeeze(), cmap="gray", vmin=0, vmax=255)
            axis.set_title(label(number), fontsize=8, color=colour, pad=3, parse_math=False)
        top -= count * CELL
    figure.savefig(path, dpi=110, metadata={"Software": None})  # the same bytes in each version
    plt.close(figure)
