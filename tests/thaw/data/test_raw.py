import io
from concurrent.futures import ThreadPoolExecutor
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from thaw.data.raw import RawFiles, encode_png, original_path, packed_archive


def pack(archive, count: int = 300) -> list[str]:
    with packed_archive(archive) as add:
        return [add(f"é/{n}.png", bytes([n % 256]) * n) for n in range(count)]


def test_many_threads_read_packed_files_at_once(tmp_path):
    paths = pack(tmp_path / "train.zip")
    assert paths[17] == "train.zip/é/17.png"
    (tmp_path / "images" / "a.zip").mkdir(parents=True)
    (tmp_path / "images" / "a.zip" / "1.png").write_bytes(
        b"not an archive, but a folder of that name"
    )
    with RawFiles(tmp_path) as raw, ThreadPoolExecutor(8) as pool:
        read = list(pool.map(raw.read, paths * 5))
        assert read[:300] * 5 == read == [bytes([n % 256]) * n for n in range(300)] * 5
        assert raw.read("images/a.zip/1.png").startswith(b"not an archive")


def test_archives_are_uncompressed_and_deterministic(tmp_path, monkeypatch):
    pack(tmp_path / "a.zip")
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("sys.platform", "win32")
    pack(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with ZipFile(tmp_path / "a.zip") as archive:
        assert all(entry.compress_size == entry.file_size for entry in archive.infolist())


def test_original_path_is_the_path_in_the_source():
    assert original_path("images/cats/images/1.jpg") == "cats/images/1.jpg"
    assert original_path("images.zip/cats/1.jpg") == "cats/1.jpg"
    assert original_path("train.zip/1.png") == "train.zip/1.png"


@pytest.mark.parametrize("shape", [(28, 28), (32, 32, 3), (1, 5), (100, 200, 3)])
def test_encode_png_round_trips(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    with Image.open(io.BytesIO(encode_png(pixels))) as picture:
        assert picture.format == "PNG"
        picture.verify()  # also checks the checksums
    with Image.open(io.BytesIO(encode_png(pixels))) as picture:
        assert np.array_equal(np.asarray(picture), pixels)
