"""Fashion-MNIST: 70,000 grey images of clothing in ten classes, published as four IDX files."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from thaw.config.base import Section
from thaw.config.dataset import Source
from thaw.data.download.debian import from_debian
from thaw.data.download.fetch import fetch, opened
from thaw.data.raw import encode_png, packed_archive
from thaw.errors import UserError

CLASSES = (  # in the order of their numbers in the files
    "tshirt_top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle_boot",
)
FOLDER = "usr/share/datasets/fashion-mnist"  # in the Debian package
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Digests(Section):
    """SHA-256 of each file after decompression."""

    train_images: Digest
    train_labels: Digest
    test_images: Digest
    test_labels: Digest


class Parameters(Source):
    """`dataset.source` of kind fashion_mnist."""

    kind: Literal["fashion_mnist"]
    """The kind of source."""
    url: Annotated[str, Field(pattern="^https?://.*/$")]
    """The folder that contains the four files."""
    package: str
    """The Debian package of the files, for machines that reach only package indexes."""
    sha256: Digests
    """SHA-256 of each file after decompression."""


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Write the images into train.zip and test.zip in `into`.

    The dataset and its split are those of Xiao, Rasul and Vollgraf (2017).

    Returns:
        For each image its `path` in `into`, `label` and `split`.

    Raises:
        UserError: A file cannot be downloaded, or is not an IDX file.
    """
    rows = []
    for split, prefix in (("train", "train"), ("test", "t10k")):
        digests = source.sha256.model_dump()
        images = _idx(source, f"{prefix}-images-idx3-ubyte.gz", digests[f"{split}_images"])
        labels = _idx(source, f"{prefix}-labels-idx1-ubyte.gz", digests[f"{split}_labels"])
        with packed_archive(into / f"{split}.zip") as add:
            for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                path = add(f"{number:05}.png", encode_png(pixels))
                rows.append({"path": path, "label": CLASSES[label], "split": split})
    return rows


def _idx(source: Parameters, name: str, digest: str) -> np.ndarray:
    """Return the uint8 array in an IDX file.

    The format is two zero bytes, the type, the number of dimensions, each dimension, the values.
    """
    path = fetch(
        name,
        digest,
        source.url + name,
        lambda: from_debian(source.package, f"{FOLDER}/{name}"),
        f"Debian package {source.package}",
    )
    with opened(path) as file:
        content = file.read()
    if content[:3] != b"\0\0\x08":
        raise UserError(
            f"{path} is not an IDX file of uint8. Correct its SHA-256 in dataset.source."
        )
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">u4")
    return np.frombuffer(content, "uint8", offset=start).reshape(shape)
