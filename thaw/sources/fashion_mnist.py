"""Fashion-MNIST: 70,000 grey images of ten kinds of clothing, in four IDX files."""

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

CLASSES = (
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
"""By the number they have in the files."""
FOLDER = "usr/share/datasets/fashion-mnist"
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Digests(Section):
    """SHA-256 of each file, once it is decompressed."""

    train_images: Digest
    train_labels: Digest
    test_images: Digest
    test_labels: Digest


class Parameters(Source):
    kind: Literal["fashion_mnist"]
    url: Annotated[str, Field(pattern="^https?://.*/$")]
    """The folder of the four files."""
    package: str
    """Debian's package of them, for where there is nothing but package indexes."""
    sha256: Digests


def collect(source: Parameters, into: Path) -> list[dict]:
    """Write the images into train.zip and test.zip in `into`, and tell of each its path there,
    label and split.

    Source: Xiao, Rasul and Vollgraf 2017, with their split.
    """
    rows = []
    for split, named in (("train", "train"), ("test", "t10k")):
        digests = source.sha256.model_dump()
        images = _idx(source, f"{named}-images-idx3-ubyte.gz", digests[f"{split}_images"])
        labels = _idx(source, f"{named}-labels-idx1-ubyte.gz", digests[f"{split}_labels"])
        with packed_archive(into / f"{split}.zip") as add:
            for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                path = add(f"{number:05}.png", encode_png(pixels))
                rows.append({"path": path, "label": CLASSES[label], "split": split})
    return rows


def _idx(source: Parameters, name: str, digest: str) -> np.ndarray:
    """The array (uint8) in an IDX file: two zeros, the type, the number of dimensions, each
    dimension, the values."""
    path = fetch(
        name,
        digest,
        source.url + name,
        lambda: from_debian(source.package, f"{FOLDER}/{name}"),
        f"Debian's package {source.package}",
    )
    with opened(path) as file:
        content = file.read()
    if content[:3] != b"\0\0\x08":
        raise UserError(f"{path} is no IDX file of bytes. Its pin in dataset.source is wrong.")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">u4")
    return np.frombuffer(content, "uint8", offset=start).reshape(shape)
