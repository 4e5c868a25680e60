"""Read and write the images in data/raw, either as single files or packed in archives.

DVC hashes and links every file of a folder, which for 60,000 tiny files costs more than all other
work. A source may therefore pack its images into a zip archive directly in data/raw. The path of
an image then goes through the archive: `train.zip/00017.png`. Images at an address may also stay
there: then data/raw only has a table of their objects.
"""

import contextlib
import csv
import hashlib
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from thaw.storage.remote import DOWNLOADS, Remote, RemoteFile
from thaw.storage.store import store_root

ARCHIVE = "images.zip"  # images from a user's archive; those from a folder are under images/
REMOTE_TABLE = "remote.csv"  # in data/raw: images that are read from their address
REMOTE_COLUMNS = ["path", "address", "object", "bytes", "version"]


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
        table = folder / REMOTE_TABLE
        self.remote = RemoteImages(table) if table.exists() else None

    def read(self, path: str) -> bytes:
        """Return the content of the file with this path in data/raw.

        Raises:
            UserError: The image is at an address, and cannot be read there.
        """
        if self.remote is not None:
            return self.remote.read(path)
        archive, _, inner = path.partition("/")
        if not archive.endswith(".zip"):
            return (self.folder / path).read_bytes()
        with self._lock:
            if archive not in self._archives:
                self._archives[archive] = zipfile.ZipFile(self.folder / archive)
            return self._archives[archive].read(inner)

    def known_sha256(self, path: str) -> str:
        """Return the SHA-256 of an image at an address if it was read before, else ""."""
        return self.remote.known_sha256(path) if self.remote is not None else ""

    def expect(self, paths: Iterable[str]) -> None:
        """Start to download images at an address that are read next, in this order."""
        if self.remote is not None:
            self.remote.expect(paths)

    def __enter__(self) -> "RawFiles":
        return self

    def __exit__(self, *_: object) -> None:
        if self.remote is not None:
            self.remote.close()
        for archive in self._archives.values():
            archive.close()


class RemoteImages:
    """Reads images at an address and keeps none. It is thread-safe.

    The store remembers the SHA-256 of each version of an object that was read, so that an image
    that is already decoded is not downloaded again.

    Args:
        table: The table of their objects.
    """

    def __init__(self, table: Path) -> None:
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._rows = {row["path"]: row for row in rows}
        self._lock = threading.Lock()
        self._remotes: dict[str, Remote] = {}
        self._waiting: Iterator[str] = iter(())
        self._downloads: dict[str, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(DOWNLOADS)
        addresses = "\n".join(sorted({row["address"] for row in rows}))
        name = hashlib.sha256(addresses.encode()).hexdigest()[:32]
        self._log = store_root() / "objects" / f"{name}.digests"  # a key and a SHA-256 per line
        self._log.parent.mkdir(exist_ok=True)
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        pairs = (line.split() for line in lines if len(line) == 2 * 64 + 1)  # others were cut off
        self._known = dict(pair for pair in pairs if len(pair) == 2)

    def known_sha256(self, path: str) -> str:
        """Return the SHA-256 of an image that was read before in this version, else ""."""
        row = self._rows[path]
        return self._known.get(_object_key(row), "") if row["version"] else ""

    def expect(self, paths: Iterable[str]) -> None:
        """Download the first of these images, and further ones as each is read."""
        with self._lock:
            self._downloads.clear()
            self._waiting = iter(list(paths))
        self._start(2 * DOWNLOADS)

    def read(self, path: str) -> bytes:
        """Return the content of an image.

        Raises:
            UserError: It cannot be read.
        """
        with self._lock:
            download = self._downloads.pop(path, None)
        content = download.result() if download else self._read(path)
        self._start(1)
        return content

    def close(self) -> None:
        """End the downloads that have not started."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, count: int) -> None:
        with self._lock:
            for path in islice(self._waiting, count):
                self._downloads[path] = self._pool.submit(self._read, path)

    def _read(self, path: str) -> bytes:
        row = self._rows[path]
        with self._lock:
            address = row["address"]
            if address not in self._remotes:
                self._remotes[address] = Remote(address)
        size = int(row["bytes"]) if row["bytes"] else None
        content = self._remotes[address].read(RemoteFile(row["object"], size, row["version"]))
        key, digest = _object_key(row), hashlib.sha256(content).hexdigest()
        with self._lock, open(self._log, "a") as log:
            if self._known.get(key) != digest:
                log.write(f"\n{key} {digest}")  # a line end first: the last line may be cut off
                self._known[key] = digest
        return content


def _object_key(row: dict[str, str]) -> str:
    text = "\n".join(row[column] for column in ("address", "object", "bytes", "version"))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


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
