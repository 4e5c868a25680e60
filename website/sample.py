"""Real images for the documentation: handwritten digits, from the data of scikit-learn.

`python -m website.sample FOLDER` writes 100 threes and 100 eights as PNG files.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

CLASSES = {"three": 3, "eight": 8}
EACH = 100  # images of a class


def write_digits(folder: Path, each: int = EACH) -> None:
    """Write `each` images of both classes, 8 x 8 pixels, to a sub-folder for each class."""
    digits = load_digits()
    for name, digit in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == digit][:each]):
            grey = np.minimum(pixels * 16, 255).astype("uint8")  # from 0..16
            Image.fromarray(255 - grey).save(folder / name / f"{number:03}.png")


if __name__ == "__main__":
    write_digits(Path(sys.argv[1]))
