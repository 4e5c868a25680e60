"""Many small files as one: an archive in data/raw, through which the paths of its images go.

DVC hashes and links every file of a folder, which for 60,000 tiny ones costs more than all the
rest. So a reader may write them into a zip directly in data/raw, `train.zip/00017.png` is then the
path of one, and whoever reads data/raw reads it as it reads any other.
"""

import contextlib
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ARCHIVE = "images.zip"
"""What holds the images of an archive of the user's; those of a folder lie under images/."""


@contextlib.contextmanager
def packed_archive(archive: Path) -> Iterator[Callable[[str, bytes], str]]:
    """Give a function that adds a file (its path in the archive, its content) and tells its path
    in data/raw. The same files in the same order make the same bytes: nothing is compressed and
    every file is of one date."""
    with zipfile.ZipFile(archive, "w") as opened:

        def add(path: str, content: bytes) -> str:
            entry = zipfile.ZipInfo(path)  # of 1980
            entry.create_system = 3  # else it tells on which system it was made
            opened.writestr(entry, content)
            return f"{archive.name}/{path}"

        yield add


class RawFiles:
    """Reads data/raw, its archives included. Any number of threads may do so at once.

    Args:
        folder: data/raw; an archive lies directly in it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._lock = threading.Lock()  # a ZipFile counts its open entries without one

    def read(self, path: str) -> bytes:
        """The content of the file with this path, through an archive or not."""
        archive, _, inner = path.partition("/")
        if not archive.endswith(".zip"):
            return (self.folder / path).read_bytes()
        with self._lock:
            if archive not in self._archives:
                self._archives[archive] = zipfile.ZipFile(self.folder / archive)
            return self._archives[archive].read(inner)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for archive in self._archives.values():
            archive.close()


def original_path(path: str) -> str:
    """A path in data/raw as the user, or the publisher, called it."""
    return path.removeprefix("images/").removeprefix(f"{ARCHIVE}/")


def encode_png(pixels: np.ndarray) -> bytes:
    """A small picture as a PNG file that no encoder's version has a part in, since the digest of a
    file decides on its split: the pixels are stored, not compressed.

    Args:
        pixels: (height, width) or (height, width, 3), uint8, under 64 KiB.
    """
    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # each after its filter, none
    stored = struct.pack("<2sBHH", b"\x78\x01", 1, len(lines), 0xFFFF ^ len(lines)) + lines
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            (b"IDAT", stored + struct.pack(">I", zlib.adler32(lines))),
            (b"IEND", b""),
        )
    )
