"""Read and write the images in data/raw, either as single files or packed in archives.

DVC hashes and links every file of a folder, which for 60,000 tiny files costs more than all other
work. A source may therefore pack its images into a zip archive directly in data/raw. The path of
an image then goes through the archive: `train.zip/00017.png`.
"""

import contextlib
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ARCHIVE = "images.zip"  # images from a user's archive; those from a folder are under images/


@contextlib.contextmanager
def packed_archive(archive: Path) -> Iterator[Callable[[str, bytes], str]]:
    """Create an archive in data/raw.

    The same files in the same order give the same bytes: nothing is compressed, and all files have
    the same date.

    Yields:
        A function that adds a file, given its path in the archive and its content, and returns its
        path in data/raw.
    """
    with zipfile.ZipFile(archive, "w") as opened:

        def add(path: str, content: bytes) -> str:
            entry = zipfile.ZipInfo(path)  # dated 1980
            entry.create_system = 3  # or the bytes would depend on the operating system
            opened.writestr(entry, content)
            return f"{archive.name}/{path}"

        yield add


class RawFiles:
    """Reads the files in data/raw, also inside its archives. It is thread-safe.

    Args:
        folder: data/raw, which directly contains the archives.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._lock = threading.Lock()  # a ZipFile counts its open entries without a lock

    def read(self, path: str) -> bytes:
        """Return the content of the file with this path in data/raw."""
        archive, _, inner = path.partition("/")
        if not archive.endswith(".zip"):
            return (self.folder / path).read_bytes()
        with self._lock:
            if archive not in self._archives:
                self._archives[archive] = zipfile.ZipFile(self.folder / archive)
            return self._archives[archive].read(inner)

    def __enter__(self) -> "RawFiles":
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archives.values():
            archive.close()


def original_path(path: str) -> str:
    """Return the path of an image in its source, given its path in data/raw."""
    return path.removeprefix("images/").removeprefix(f"{ARCHIVE}/")


def encode_png(pixels: np.ndarray) -> bytes:
    """Return a small image as an uncompressed PNG file.

    The bytes do not depend on the version of any encoder, because the digest of a file decides on
    its split.

    Args:
        pixels: (height, width) or (height, width, 3), uint8, under 64 KiB.
    """
    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: no filter
    deflated = struct.pack("<2sBHH", b"\x78\x01", 1, len(lines), 0xFFFF ^ len(lines)) + lines
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            (b"IDAT", deflated + struct.pack(">I", zlib.adler32(lines))),
            (b"IEND", b""),
        )
    )
