"""CIFAR-10: 60,000 small colour images of ten things, in Python's pickles."""

import pickle
import tarfile
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from thaw.config.dataset import Source
from thaw.data.archives import DAMAGE
from thaw.data.download.fetch import fetch
from thaw.data.raw import encode_png, packed_archive
from thaw.errors import UserError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""By the number they have in the files."""
BATCHES = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}
FOLDER = "cifar-10-batches-py"
ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),  # as in the published files
    ("numpy._core.multiarray", "_reconstruct"),  # as NumPy 2 writes them
}


class Parameters(Source):
    kind: Literal["cifar10"]
    url: Annotated[str, Field(pattern="^https?://.*/[^/]+$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the archive."""


def collect(source: Parameters, into: Path) -> list[dict]:
    """Write the images into train.zip and test.zip in `into`, and tell of each its path there,
    label and split.

    Source: Krizhevsky 2009, with his split.

    Raises:
        UserError: the archive cannot be had, or is not as published.
    """
    archive = fetch(source.url.rpartition("/")[2], source.sha256, source.url)
    rows = []
    try:
        with tarfile.open(archive) as files:
            for split, batches in BATCHES.items():
                with packed_archive(into / f"{split}.zip") as add:
                    number = 0
                    for batch in batches:
                        member = files.extractfile(f"{FOLDER}/{batch}")
                        for pixels, label in zip(*_batch(member), strict=True):
                            path = add(f"{number:05}.png", encode_png(pixels))
                            rows.append({"path": path, "label": CLASSES[label], "split": split})
                            number += 1
    except (*DAMAGE, pickle.PickleError, LookupError, ValueError, TypeError) as error:
        raise UserError(f"{archive} is not CIFAR-10 as published: {error}") from None
    return rows


class _Arrays(pickle.Unpickler):
    """Builds NumPy's arrays and plain values; a pickle that asks for anything else is refused,
    since it could run any code."""

    def find_class(self, module: str, name: str):
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"its pickle asks for {module}.{name}")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct
        return getattr(np, name)


def _batch(file) -> tuple[np.ndarray, list[int]]:
    """Pixels (N, 32, 32, 3), uint8, and labels of one file."""
    held = _Arrays(file, encoding="bytes").load()
    pixels = held[b"data"]  # (N, 3072), a channel after the other
    if getattr(pixels, "dtype", None) != np.uint8:
        raise ValueError("its pixels are not bytes")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), held[b"labels"]
