"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in ten classes, published as pickles."""

import pickle
import tarfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from thaw.config.dataset import Source
from thaw.data.archives import DAMAGE
from thaw.data.download.fetch import fetch
from thaw.data.raw import encode_png, packed_archive
from thaw.errors import UserError

CLASSES = (  # in the order of their numbers in the files
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
BATCHES = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}
FOLDER = "cifar-10-batches-py"
ALLOWED_GLOBALS = {  # (module, name) of what a pickle may refer to
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),  # in the published files
    ("numpy._core.multiarray", "_reconstruct"),  # in files that NumPy 2 writes
}


class Parameters(Source):
    """`dataset.source` of kind cifar10."""

    kind: Literal["cifar10"]
    """The kind of source."""
    url: Annotated[str, Field(pattern="^https?://.*/[^/]+$")]
    """Where the archive is."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the archive."""


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Write the images into train.zip and test.zip in `into`.

    The dataset and its split are those of Krizhevsky (2009).

    Returns:
        For each image its `path` in `into`, `label` and `split`.

    Raises:
        UserError: The archive cannot be downloaded, or differs from the published format.
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
        raise UserError(f"{archive} is not the published CIFAR-10 archive: {error}") from None
    return rows


class _Arrays(pickle.Unpickler):
    """Loads only NumPy arrays and plain values, because other pickles could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"its pickle refers to {module}.{name}")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return getattr(np, name)


def _batch(file: Any) -> tuple[np.ndarray, list[int]]:
    """Return the pixels (n, 32, 32, 3), uint8, and the labels in a file."""
    batch = _Arrays(file, encoding="bytes").load()
    pixels = batch[b"data"]  # (n, 3072): all of red, then green, then blue
    if getattr(pixels, "dtype", None) != np.uint8:
        raise ValueError("its pixels are not uint8")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), batch[b"labels"]
