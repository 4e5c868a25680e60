import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from thaw.data.raw import RawFiles
from thaw.data.registry import validate_source
from thaw.errors import UserError
from thaw.sources.cifar10 import BATCHES, CLASSES, FOLDER, collect

NAMES = [*BATCHES["train"], *BATCHES["test"]]


def python_2_pickle(batch: dict) -> bytes:
    """Return a pickle as Python 2 and the NumPy of 2009 wrote it.

    Its text is bytes, and NumPy's `_reconstruct` is in another module.
    """
    pixels = batch[b"data"]
    opcodes = pickle.PROTO + b"\x02" + pickle.MARK
    opcodes += pickle.SHORT_BINSTRING + b"\x04data"
    opcodes += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    opcodes += (
        b"(K\x01K" + bytes([pixels.shape[0]]) + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01"
    )
    opcodes += b"\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    data = pixels.tobytes()
    opcodes += pickle.BINSTRING + len(data).to_bytes(4, "little") + data + b"tb"
    opcodes += pickle.SHORT_BINSTRING + b"\x06labels" + b"]("
    opcodes += b"".join(b"K" + bytes([label]) for label in batch[b"labels"]) + b"ed."
    return opcodes.replace(pickle.MARK, b"}(", 1)


@pytest.fixture
def batches() -> dict[str, dict]:
    random = np.random.default_rng(0)
    return {
        name: {
            b"data": random.integers(0, 256, (10, 3072), dtype="uint8"),
            b"labels": random.permutation(10).tolist(),
        }
        for name in NAMES
    }


@pytest.fixture
def collected(server, tmp_path):
    """Return a function that collects an archive of the given files."""

    def call(files: dict[str, bytes]) -> list[dict]:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"{FOLDER}/{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        server.files["cifar.tar.gz"] = content.getvalue()
        values = {"kind": "cifar10"}
        values |= {"url": f"{server.url}cifar.tar.gz"}
        values |= {"sha256": hashlib.sha256(content.getvalue()).hexdigest()}
        return collect(validate_source(values), tmp_path)

    return call


@pytest.mark.parametrize("write", [python_2_pickle, pickle.dumps])
def test_images_are_collected_with_class_and_split(batches, collected, tmp_path, write):
    rows = collected({name: write(batch) for name, batch in batches.items()})
    assert [row["split"] for row in rows] == ["train"] * 50 + ["test"] * 10
    labels = [label for name in NAMES for label in batches[name][b"labels"]]
    assert [row["label"] for row in rows] == [CLASSES[label] for label in labels]
    assert (rows[49]["path"], rows[50]["path"]) == ("train.zip/00049.png", "test.zip/00000.png")
    planes = np.concatenate([batches[name][b"data"] for name in NAMES]).reshape(-1, 3, 32, 32)
    with RawFiles(tmp_path) as raw:
        for row, (red, green, blue) in zip(rows, planes, strict=True):
            with Image.open(io.BytesIO(raw.read(row["path"]))) as picture:
                assert picture.mode == "RGB"
                assert np.array_equal(np.asarray(picture), np.stack([red, green, blue], -1))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"data": Evil()}, "its pickle refers to posix.mkdir"),
        ({b"labels": np.float64(1)}, "its pickle refers to numpy._core.multiarray.scalar"),
        ({b"data": np.zeros((10, 3072))}, "its pixels are not uint8"),
        ({b"data": [1, 2]}, "its pixels are not uint8"),
        ({b"labels": [99] * 10}, "out of range"),
        ({b"labels": [1]}, "shorter"),
    ],
)
def test_pickles_with_other_content_are_refused(
    batches, collected, tmp_path, monkeypatch, change, reason
):
    monkeypatch.chdir(tmp_path)
    files = {name: pickle.dumps(batch) for name, batch in batches.items()}
    files["test_batch"] = pickle.dumps(batches["test_batch"] | change)
    with pytest.raises(UserError, match=f"is not the published CIFAR-10 archive: .*{reason}"):
        collected(files)
    assert not (tmp_path / "evil").exists()


def test_archives_without_all_files_are_refused(batches, collected):
    files = {name: pickle.dumps(batch) for name, batch in batches.items()}
    del files["data_batch_3"]
    with pytest.raises(UserError, match="not the published CIFAR-10 archive: .*data_batch_3"):
        collected(files)
    files["data_batch_3"] = b"\x80"
    with pytest.raises(UserError, match="not the published CIFAR-10 archive"):
        collected(files)
