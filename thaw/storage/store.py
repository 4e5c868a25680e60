"""The content-addressed store of parts: what was computed for one image under one recipe.

Artifacts are DVC's; their parts live here, beside DVC's cache and outside every output, so that a
stage that was killed, a branch that was switched or a folder that grew finds what was done before.
A part's recipe is everything that shapes it but the image (weights, preprocessing, precision,
versions); its key is the image's content. A shard holds the parts that were made together:

    ROOT/KIND/RECIPE/recipe.json
    ROOT/KIND/RECIPE/<shard>.npy     the rows
    ROOT/KIND/RECIPE/<shard>.keys    a key a line; a shard exists once this file does

A shard is named by the SHA-256 of its keys and the CRC-32 of its rows, and looked at before it is
first used: what was cut or altered is dropped, and so computed again. (Shards of earlier versions
have no CRC-32 in their names and are taken as they are.)

Nothing is ever overwritten but by the same bytes, so any number of processes, on any number of
machines, may read and add at once. To clear the store, delete its folder.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
import zlib
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.storage.dvc import dvc_cache, user_path
from thaw.storage.files import atomic_write

SECONDS_UNFINISHED = 3600
"""After which a file that nobody finished writing is taken for a killed run's."""


def store_root() -> Path:
    """The store's folder: `THAW_STORE`, or `thaw` in DVC's cache, which queued experiments and
    clones with a shared cache have in common.

    Raises:
        UserError: it is not there and cannot be made.
    """
    chosen = os.environ.get("THAW_STORE")
    folder = user_path(chosen) if chosen else dvc_cache() / "thaw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{'THAW_STORE = ' if chosen else ''}{str(folder)!r} is no folder and cannot be made "
            f"one: {error.strerror}. Set THAW_STORE to a folder of yours."
        ) from None
    return folder


def recipe_digest(recipe: dict) -> str:
    """A name for `recipe`, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


class CachedValue:
    """JSON in the store that is quicker to read than to find out again, so that nothing is lost
    where it is damaged or cannot be written.

    Args:
        kind: what is noted, for the folder's name.
        about: what it is noted of.
    """

    def __init__(self, kind: str, about: str):
        self.file = (
            store_root() / kind / f"{hashlib.sha256(os.fsencode(about)).hexdigest()[:32]}.json"
        )

    def read(self):
        """The value; none where there is no note that can be read."""
        try:
            return json.loads(self.file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, value) -> None:
        with contextlib.suppress(OSError), atomic_write(self.file, shared=True) as part:
            part.write_text(json.dumps(value))


class Store:
    """The parts of one kind and recipe.

    Args:
        kind: what the parts are, for the folder's name.
        recipe: what shapes a part besides its image; JSON values.
    """

    def __init__(self, kind: str, recipe: dict):
        self.recipe = recipe
        self.folder = store_root() / kind / recipe_digest(recipe)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "recipe.json").exists():
            text = json.dumps(recipe, indent=2, sort_keys=True)
            _write(self.folder / "recipe.json", text.encode())
        self._places: dict[str, tuple[str, int]] = {}
        self._counts: dict[str, int] = {}
        self._kind: tuple[tuple[int, ...], np.dtype] | None = None
        self._looked_at: set[str] = set()
        self._lock = threading.Lock()
        for part in self.folder.glob("*.part"):  # of a run that was killed
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > SECONDS_UNFINISHED:
                    part.unlink()
        for file in sorted(self.folder.glob("*.keys")):
            content = file.read_bytes()
            if file.stem.split("-")[0] == _name(content):
                self._know(file.stem, content.decode().split())
            else:
                self._drop(file.stem)

    def _know(self, shard: str, keys: list[str]) -> None:
        self._counts[shard] = len(keys)
        for row, key in enumerate(keys):
            self._places.setdefault(key, (shard, row))

    def _drop(self, shard: str) -> None:
        """Forget a shard that is not what was written."""
        print(f"{self.folder / shard}.npy was cut or altered: its parts are dropped", flush=True)
        self._places = {key: at for key, at in self._places.items() if at[0] != shard}
        (self.folder / f"{shard}.keys").unlink(missing_ok=True)
        (self.folder / f"{shard}.npy").unlink(missing_ok=True)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            if (place := self._places.get(key)) and place[0] not in self._looked_at:
                shard = place[0]
                _, _, crc = shard.partition("-")
                if crc and crc != _crc_of(self.folder / f"{shard}.npy"):
                    self._drop(shard)
                self._looked_at.add(shard)
            return key in self._places

    def missing(self, keys) -> list[str]:
        """Those of `keys` that are not here, each once, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self]

    def add(self, keys: list[str], rows: np.ndarray) -> None:
        """Keep `rows` (len(keys), ...) under `keys`, as one shard, on disk before this returns."""
        content, seen = "\n".join(keys).encode(), _Crc()
        np.save(seen, rows)
        shard = f"{_name(content)}-{seen.value:08x}"
        _write(self.folder / f"{shard}.npy", lambda file: np.save(file, rows))
        _write(self.folder / f"{shard}.keys", content)
        self._know(shard, keys)
        self._looked_at.add(shard)

    def __getitem__(self, key: str) -> np.ndarray:
        """The row of `key`.

        Raises:
            KeyError: it is not here.
        """
        if key not in self:
            raise KeyError(key)
        shard, row = self._places[key]
        path = self.folder / f"{shard}.npy"
        if self._kind is None:
            rows = np.load(path, mmap_mode="r")
            self._kind = rows.shape[1:], rows.dtype
        return read_row(path, row, self._counts[shard], *self._kind)


def read_row(
    path: Path, row: int, count: int, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """One of the `count` rows of a .npy file. The file is closed again, and not mapped: there may
    be more of them than a process can hold open, and what is mapped counts as its memory."""
    values = int(np.prod(shape))
    with open(path, "rb") as file:
        file.seek((row - count) * values * dtype.itemsize, os.SEEK_END)  # after NumPy's header
        return np.fromfile(file, dtype, values).reshape(shape)


def _name(keys: bytes) -> str:
    return hashlib.sha256(keys).hexdigest()[:32]


class _Crc:
    """A file that only sums up what is written to it."""

    value = 0

    def write(self, content) -> None:
        self.value = zlib.crc32(content, self.value)


def _crc_of(path: Path) -> str | None:
    seen = _Crc()
    try:
        with open(path, "rb") as file:
            while piece := file.read(2**20):
                seen.write(piece)
    except OSError:
        return None
    return f"{seen.value:08x}"


def _write(path: Path, content) -> None:
    with atomic_write(path, shared=True) as part, open(part, "wb") as file:
        content(file) if callable(content) else file.write(content)
