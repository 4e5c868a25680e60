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

If `THAW_STORE` is an address such as s3://bucket/thaw, the folder is a local cache of it: shards of
`SHARED_KINDS` that it lacks are downloaded when they are needed, and new ones are uploaded.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from thaw.errors import UserError
from thaw.storage.dvc import dvc_cache, user_path
from thaw.storage.files import atomic_write
from thaw.storage.shards import (
    SharedShards,
    crc_of,
    keys_digest,
    shard_content,
    shard_name,
    write_file,
)

Array = np.ndarray[Any, Any]
STALE_SECONDS = 3600  # age of an unfinished file that no running process can still be writing
# of parts that take long to compute. Decoded images are shared as `pixels`, see SharedImages.
SHARED_KINDS = ("frozen",)


def store_root() -> Path:
    """Return the store's folder on this machine: `THAW_STORE`, or `thaw` in DVC's cache if it is
    not set or the address of a shared store.

    Queued experiments, and clones with a shared cache, use the same store.

    Raises:
        UserError: the folder does not exist and cannot be created.
    """
    chosen = None if shared_root() else os.environ.get("THAW_STORE")
    folder = user_path(chosen) if chosen else dvc_cache() / "thaw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{'THAW_STORE = ' if chosen else ''}{str(folder)!r} is no folder and cannot be "
            f"created: {error.strerror}. Set THAW_STORE to a folder of yours."
        ) from None
    return folder


def shared_root() -> str | None:
    """Return the address of the shared store, or None if `THAW_STORE` is a folder or not set."""
    chosen = os.environ.get("THAW_STORE", "")
    if "://" not in chosen:
        return None
    from thaw.storage.addresses import is_remote  # imports fsspec, which takes time

    return chosen.rstrip("/") if is_remote(chosen) else None


def store_address(kind: str, recipe: dict[str, Any]) -> str:
    """Return the address of a store's shards, at which other machines may reach them."""
    root = shared_root() or str(store_root().resolve())
    return f"{root}/{kind}/{recipe_digest(recipe)}"


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

    Attributes:
        recipe: as in Args.
        folder: of the shards on this machine.
        address: of the shards, for other machines.

    Raises:
        UserError: the shared store cannot be used.
    """

    def __init__(self, kind: str, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.folder = store_root() / kind / recipe_digest(recipe)
        self.address = store_address(kind, recipe)
        self.folder.mkdir(parents=True, exist_ok=True)
        description = json.dumps(recipe, indent=2, sort_keys=True).encode()
        if not (self.folder / "recipe.json").exists():
            write_file(self.folder / "recipe.json", lambda file: file.write(description))
        self._location: dict[str, tuple[str, int]] = {}  # shard and row of each key
        self._counts: dict[str, int] = {}  # rows of each shard
        self._row_type: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._checked: set[str] = set()  # shards
        self._lock = threading.RLock()
        for part in self.folder.glob("*.part"):  # left by a killed run
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > STALE_SECONDS:
                    part.unlink()
        for file in sorted(self.folder.glob("*.keys")):
            content = file.read_bytes()
            if file.stem.split("-")[0] == keys_digest(content):
                self._register(file.stem, content.decode().split())
            else:
                self._drop(file.stem)
        self._shared: SharedShards | None = None
        self._uploaded: set[str] = set()  # shards that the shared store has
        self._elsewhere: dict[str, list[str]] = {}  # those that this machine lacks, and their keys
        if kind in SHARED_KINDS and shared_root():
            self._shared = SharedShards(self.address)
            files = self._shared.files()
            if "recipe.json" not in files:
                self._shared.write("recipe.json", description)
            self._uploaded = {f[: -len(".keys")] for f in files if f.endswith(".keys")}
            lacking = sorted(self._uploaded - self._counts.keys())
            for shard, keys in self._shared.keys(lacking).items():
                self.register(shard, keys)

    def register(self, shard: str, keys: list[str]) -> None:
        """Use a shard that another machine has written to the store's address."""
        if self._shared:
            self._uploaded.add(shard)
            self._elsewhere[shard] = keys
        self._register(shard, keys)

    def _register(self, shard: str, keys: list[str]) -> None:
        self._counts[shard] = len(keys)
        for row, key in enumerate(keys):
            self._location.setdefault(key, (shard, row))

    def _drop(self, shard: str) -> None:
        """Delete a shard that was truncated or modified."""
        path = self.folder / f"{shard}.npy"
        print(f"{path} was truncated or modified: its parts are dropped", flush=True)
        self._forget({shard})
        path.with_suffix(".keys").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _forget(self, shards: set[str]) -> None:
        self._location = {key: at for key, at in self._location.items() if at[0] not in shards}

    def _download(self, keys: Iterable[str]) -> None:
        """Download the shards of `keys` that this machine lacks."""
        if not self._shared or not self._elsewhere:
            return
        shards = {self._location[key][0] for key in keys if key in self._location}
        wanted = {shard: self._elsewhere.pop(shard) for shard in shards & self._elsewhere.keys()}
        self._shared.download(wanted, self.folder)
        complete = {shard for shard in wanted if (self.folder / f"{shard}.keys").exists()}
        self._checked |= complete
        if damaged := wanted.keys() - complete:
            self._forget(damaged)
            self._uploaded -= damaged

    def __contains__(self, key: str) -> bool:
        with self._lock:
            self._download([key])
            if (location := self._location.get(key)) and location[0] not in self._checked:
                shard = location[0]
                _, _, crc = shard.partition("-")
                if crc and crc != crc_of(self.folder / f"{shard}.npy"):
                    self._drop(shard)
                self._checked.add(shard)
            return key in self._location

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of `keys` that are not stored, without repetitions, in the same order."""
        distinct = list(dict.fromkeys(keys))
        with self._lock:
            self._download(distinct)
        return [key for key in distinct if key not in self]

    def add(self, keys: list[str], rows: Array) -> None:
        """Write `rows` (len(keys), ...) under `keys` as one shard, flushed to disk, and upload it
        if the store is shared.
        """
        shard = shard_name(keys, rows)
        write_file(self.folder / f"{shard}.npy", lambda file: np.save(file, rows))
        write_file(self.folder / f"{shard}.keys", lambda file: file.write(shard_content(keys)))
        self._register(shard, keys)
        self._checked.add(shard)
        self.share(keys)

    def share(self, keys: Iterable[str]) -> None:
        """Upload those shards of `keys` that the shared store lacks, if there is one."""
        if not self._shared:
            return
        shards = {self._location[key][0] for key in keys} - self._uploaded
        self._shared.upload(sorted(shards), self.folder)
        self._uploaded |= shards

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
