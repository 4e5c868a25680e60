import gzip
import hashlib
import io
import struct

import numpy as np
import pytest
from PIL import Image

from thaw.data.raw import RawFiles
from thaw.data.registry import validate_source
from thaw.errors import UserError
from thaw.sources.fashion_mnist import CLASSES, Parameters, collect


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 30), ("test", 12)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 28, 28), dtype="uint8")
        arrays[f"{split}_labels"] = np.arange(count, dtype="uint8") % 10
    return arrays


@pytest.fixture
def published(server, arrays) -> dict:
    """Return the parameters of the arrays that the server publishes."""
    pins = {}
    for key, values in arrays.items():
        split, kind = key.split("_")
        content = idx(values)
        name = {"train": "train", "test": "t10k"}[split] + f"-{kind}-idx{values.ndim}-ubyte.gz"
        server.files[f"data/{name}"] = gzip.compress(content)
        pins[key] = hashlib.sha256(content).hexdigest()
    return {
        "kind": "fashion_mnist",
        "url": f"{server.url}data/",
        "package": "no-such-package",
        "sha256": pins,
    }


def test_images_are_collected_with_class_and_split(published, arrays, tmp_path):
    parameters = validate_source(published)
    assert isinstance(parameters, Parameters)
    rows = collect(parameters, tmp_path)
    assert [row["split"] for row in rows] == ["train"] * 30 + ["test"] * 12
    assert [row["label"] for row in rows] == [*CLASSES * 3, *CLASSES, *CLASSES[:2]]
    assert rows[0]["path"] == "train.zip/00000.png"
    images = np.concatenate([arrays["train_images"], arrays["test_images"]])
    with RawFiles(tmp_path) as raw:
        for row, pixels in zip(rows, images, strict=True):
            with Image.open(io.BytesIO(raw.read(row["path"]))) as picture:
                assert picture.mode == "L" and np.array_equal(np.asarray(picture), pixels)


def test_invalid_and_missing_digests_are_refused_by_name(published):
    del published["sha256"]["test_labels"]
    published["sha256"]["train_images"] = "abc"
    with pytest.raises(UserError) as refusal:
        validate_source(published)
    assert "dataset.source.sha256.train_images = 'abc'" in str(refusal.value)
    assert "dataset.source.sha256.test_labels is missing" in str(refusal.value)


def test_files_of_another_format_are_refused(published, server, tmp_path):
    content = b"something else"
    published["sha256"]["train_images"] = hashlib.sha256(content).hexdigest()
    server.files["data/train-images-idx3-ubyte.gz"] = content
    with pytest.raises(UserError, match="train-images-idx3-ubyte.gz is not an IDX file of uint8"):
        collect(validate_source(published), tmp_path)
