"""The content-addressed store of results that were computed for one image under one recipe.

DVC manages artifacts. The parts that they consist of are also kept here, beside DVC's cache and
outside every output. So a stage that was killed, another branch or a larger folder computes only
the parts that are missing. The recipe of a part is everything that shapes it except the image
(weights, preprocessing, precision, versions). Its key is the digest of the image's content. A shard
contains the parts that were computed together:

    ROOT/KIND/RECIPE/recipe.json
    ROOT/KIND/RECIPE/<shard>.npy     the rows
    ROOT/KIND/RECIPE/<shard>.keys    one key per line; written last, so it marks a complete shard

A shard's name is the SHA-256 of its keys and the CRC-32 of its rows. It is checked before its first
use: a truncated or modified shard is deleted, and its parts are computed again. (Shards of earlier
versions have no CRC-32 in their names and are not checked.)

A file is only ever overwritten by the same bytes, so any number of processes on any number of
machines may read and add at once. To clear the store, delete its folder.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from thaw.errors import UserError
from thaw.storage.dvc import dvc_cache, user_path
from thaw.storage.files import atomic_write

Array = np.ndarray[Any, Any]
STALE_SECONDS = 3600  # age of an unfinished file that no running process can still be writing
CHUNK_BYTES = 2**20  # read at a time, so that memory does not grow with a file


def store_root() -> Path:
    """Return the store's folder: `THAW_STORE`, or `thaw` in DVC's cache.

    Queued experiments, and clones with a shared cache, use the same store.

    Raises:
        UserError: the folder does not exist and cannot be created.
    """
    chosen = os.environ.get("THAW_STORE")
    folder = user_path(chosen) if chosen else dvc_cache() / "thaw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{'THAW_STORE = ' if chosen else ''}{str(folder)!r} is no folder and cannot be "
            f"created: {error.strerror}. Set THAW_STORE to a folder of yours."
        ) from None
    return folder


def recipe_digest(recipe: dict[str, Any]) -> str:
    """Return a digest of `recipe` that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


def code_digest() -> str:
    """Return a digest of every loaded file of Thaw, so that changed code reuses no result."""
    files = {
        module.__file__
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("thaw", "stages") and getattr(module, "__file__", None)
    }
    digest = hashlib.sha256()
    for file in sorted(filter(None, files)):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


class CachedValue:
    """A JSON value in the store that can be computed again if it is damaged or cannot be written.

    Args:
        kind: what is cached, the folder's name.
        key: what the value belongs to.
    """

    def __init__(self, kind: str, key: str) -> None:
        digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:32]
        self.file = store_root() / kind / f"{digest}.json"

    def read(self) -> Any:
        """Return the value, or None if it is not cached or cannot be read."""
        try:
            return json.loads(self.file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, value: Any) -> None:
        """Cache the value, if the store can be written."""
        with contextlib.suppress(OSError), atomic_write(self.file, shared=True) as part:
            part.write_text(json.dumps(value))


class Store:
    """The parts of one kind and recipe.

    Args:
        kind: what the parts are, the folder's name.
        recipe: everything that shapes a part except its image; JSON values.
    """

    def __init__(self, kind: str, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.folder = store_root() / kind / recipe_digest(recipe)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "recipe.json").exists():
            text = json.dumps(recipe, indent=2, sort_keys=True)
            _write(self.folder / "recipe.json", lambda file: file.write(text.encode()))
        self._location: dict[str, tuple[str, int]] = {}  # shard and row of each key
        self._counts: dict[str, int] = {}  # rows of each shard
        self._row_type: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._checked: set[str] = set()  # shards
        self._lock = threading.Lock()
        for part in self.folder.glob("*.part"):  # left by a killed run
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > STALE_SECONDS:
                    part.unlink()
        for file in sorted(self.folder.glob("*.keys")):
            content = file.read_bytes()
            if file.stem.split("-")[0] == _name(content):
                self._register(file.stem, content.decode().split())
            else:
                self._drop(file.stem)

    def _register(self, shard: str, keys: list[str]) -> None:
        self._counts[shard] = len(keys)
        for row, key in enumerate(keys):
            self._location.setdefault(key, (shard, row))

    def _drop(self, shard: str) -> None:
        """Delete a shard that was truncated or modified."""
        path = self.folder / f"{shard}.npy"
        print(f"{path} was truncated or modified: its parts are dropped", flush=True)
        self._location = {key: at for key, at in self._location.items() if at[0] != shard}
        path.with_suffix(".keys").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            if (location := self._location.get(key)) and location[0] not in self._checked:
                shard = location[0]
                _, _, crc = shard.partition("-")
                if crc and crc != _crc_of(self.folder / f"{shard}.npy"):
                    self._drop(shard)
                self._checked.add(shard)
            return key in self._location

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of `keys` that are not stored, without repetitions, in the same order."""
        return [key for key in dict.fromkeys(keys) if key not in self]

    def add(self, keys: list[str], rows: Array) -> None:
        """Write `rows` (len(keys), ...) under `keys` as one shard, flushed to disk."""
        content, crc = "\n".join(keys).encode(), _Crc()
        np.save(crc, rows)
        shard = f"{_name(content)}-{crc.value:08x}"
        _write(self.folder / f"{shard}.npy", lambda file: np.save(file, rows))
        _write(self.folder / f"{shard}.keys", lambda file: file.write(content))
        self._register(shard, keys)
        self._checked.add(shard)

    def __getitem__(self, key: str) -> Array:
        """Return the row of `key`.

        Raises:
            KeyError: the key is not stored.
        """
        if key not in self:
            raise KeyError(key)
        shard, row = self._location[key]
        path = self.folder / f"{shard}.npy"
        if self._row_type is None:
            rows = np.load(path, mmap_mode="r")
            self._row_type = rows.shape[1:], rows.dtype
        return read_row(path, row, self._counts[shard], *self._row_type)


def read_row(
    path: Path, row: int, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """Return one of the `count` rows of a .npy file.

    The file is closed again and not memory-mapped: there may be more files than a process can have
    open, and mapped pages count as its memory.
    """
    values = int(np.prod(shape))
    with open(path, "rb") as file:
        file.seek((row - count) * values * dtype.itemsize, os.SEEK_END)  # after NumPy's header
        return np.fromfile(file, dtype, values).reshape(shape)


def _name(keys: bytes) -> str:
    """Return the first part of a shard's name."""
    return hashlib.sha256(keys).hexdigest()[:32]


class _Crc:
    """A file that computes the CRC-32 of what is written to it."""

    value = 0

    def write(self, content: bytes) -> None:
        self.value = zlib.crc32(content, self.value)


def _crc_of(path: Path) -> str | None:
    """Return the CRC-32 of a file in hexadecimal, or None if it cannot be read."""
    crc = _Crc()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                crc.write(chunk)
    except OSError:
        return None
    return f"{crc.value:08x}"


def _write(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    with atomic_write(path, shared=True) as part, open(part, "wb") as file:
        write(file)
