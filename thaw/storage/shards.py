"""Shards of the store at an address that several machines reach: a folder, or s3://bucket/thaw.

They have the names and the bytes that thaw.storage.store describes.
"""

import contextlib
import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from thaw.errors import UserError
from thaw.storage.files import atomic_write

Array = np.ndarray[Any, Any]
Row = tuple[str, int, int]  # shard, number of the row, number of the shard's rows
CHUNK_BYTES = 2**20  # read at a time, so that memory does not grow with a file
TRANSFERS = 8  # at a time; object stores are slow in one stream


class SharedShards:
    """The shards of one kind and recipe. Every file is complete as soon as it has its name.

    Args:
        address: of the shards' folder, for fsspec.

    Raises:
        UserError: the address cannot be used. So do all methods.
    """

    def __init__(self, address: str) -> None:
        from fsspec.implementations.local import LocalFileSystem  # every stage would import it

        from thaw.storage.addresses import filesystem

        self.address = address
        self._fs, self._path = filesystem(address)
        self._local = isinstance(self._fs, LocalFileSystem)

    def files(self) -> set[str]:
        """Return the names of all files; an empty set if there is no folder."""
        with self._reported():
            self._fs.invalidate_cache()
            try:
                return {path.rsplit("/", 1)[-1] for path in self._fs.ls(self._path, detail=False)}
            except FileNotFoundError:
                return set()

    def keys(self, shards: Iterable[str]) -> dict[str, list[str]]:
        """Return the keys of shards, without those whose keys were truncated or modified."""
        shards = list(shards)
        paths = [self._file(f"{shard}.keys") for shard in shards]
        with self._reported():  # `cat` would take [, ? and * in a path for a pattern
            contents = self._fs.cat_ranges(paths, None, None, on_error="raise")
        return {
            shard: content.decode().split()
            for shard, content in zip(shards, contents, strict=True)
            if shard.split("-")[0] == keys_digest(content)
        }

    def add(self, keys: list[str], rows: Array) -> str:
        """Write `rows` (len(keys), ...) under `keys` as one shard, and return its name."""
        content, shard = shard_content(keys), shard_name(keys, rows)
        array = io.BytesIO()
        np.save(array, rows)
        self.write(f"{shard}.npy", array.getvalue())
        self.write(f"{shard}.keys", content)
        return shard

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        with self._reported():
            if self._local:
                write_file(Path(self._file(name)), lambda file: file.write(content))
            else:  # an object appears when it is complete
                self._fs.pipe_file(self._file(name), content)

    def upload(self, shards: Iterable[str], folder: Path) -> None:
        """Copy shards from a local folder."""

        def copy(shard: str) -> None:
            for name in (f"{shard}.npy", f"{shard}.keys"):
                with self._reported():
                    self._fs.put_file(str(folder / name), self._file(name))

        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(copy, shards))

    def download(self, shards: dict[str, list[str]], folder: Path) -> None:
        """Copy shards, given with their keys, to a local folder. A shard that is missing or whose
        rows were modified is removed, so that it is computed again.
        """

        def copy(shard: str) -> None:
            with self._reported(), contextlib.suppress(FileNotFoundError):
                with atomic_write(folder / f"{shard}.npy", shared=True) as part:
                    self._fs.get_file(self._file(f"{shard}.npy"), str(part))
                    complete = crc_of(part) == shard.partition("-")[2]
                if complete:
                    keys = shard_content(shards[shard])
                    write_file(folder / f"{shard}.keys", lambda file: file.write(keys))
                    return
                (folder / f"{shard}.npy").unlink()
            self.remove(shard)

        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(copy, shards))

    def remove(self, shard: str) -> None:
        """Delete a shard that is missing in part, or was truncated or modified."""
        print(f"{self.address}/{shard}.npy was truncated or modified: its parts are dropped")
        for name in (f"{shard}.keys", f"{shard}.npy"):
            with self._reported(), contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(self._file(name))

    def read(self, rows: list[Row], shape: tuple[int, ...], dtype: str) -> Array:
        """Return single rows (len(rows), *shape), unchecked. Adjacent ones are read together."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        paths: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for shard, row, count in rows:
            path = self._file(f"{shard}.npy")
            start = _header_size((count, *shape), dtype) + row * size
            if paths and paths[-1] == path and ends[-1] == start:
                ends[-1] += size
            else:
                paths.append(path)
                starts.append(start)
                ends.append(start + size)
        with self._reported():
            contents = self._fs.cat_ranges(paths, starts, ends, on_error="raise")
        return np.frombuffer(b"".join(contents), dtype).reshape(len(rows), *shape)

    def _file(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise errors of the address as a UserError. Their types depend on its filesystem."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if self._local:
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"{self.address} cannot be read or written: {reason}. Check THAW_STORE, the "
                f"network and the credentials. What is finished is kept: run the same command "
                f"again."
            ) from None


class Crc:
    """A file that computes the CRC-32 of what is written to it."""

    value = 0

    def write(self, content: bytes) -> None:
        """Continue the CRC-32 with `content`."""
        self.value = zlib.crc32(content, self.value)


def shard_content(keys: list[str]) -> bytes:
    """Return the content of a shard's file of keys."""
    return "\n".join(keys).encode()


def shard_name(keys: list[str], rows: Array) -> str:
    """Return the name of a shard: the SHA-256 of its keys and the CRC-32 of its rows."""
    crc = Crc()
    np.save(crc, rows)
    return f"{keys_digest(shard_content(keys))}-{crc.value:08x}"


def keys_digest(content: bytes) -> str:
    """Return the first part of a shard's name."""
    return hashlib.sha256(content).hexdigest()[:32]


def crc_of(path: Path) -> str | None:
    """Return the CRC-32 of a file in hexadecimal, or None if it cannot be read."""
    crc = Crc()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                crc.write(chunk)
    except OSError:
        return None
    return f"{crc.value:08x}"


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file that other processes may write at the same time."""
    with atomic_write(path, shared=True) as part, open(part, "wb") as file:
        write(file)


def _header_size(shape: tuple[int, ...], dtype: str) -> int:
    """Return the number of bytes before the values in a .npy file."""
    header = io.BytesIO()
    description = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return len(header.getvalue())
