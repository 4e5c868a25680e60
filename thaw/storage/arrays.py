"""Rows of one shape under the key of their content, in files that few new rows change."""

import bisect
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.errors import UserError
from thaw.storage.dvc import RecordedOutput
from thaw.storage.files import atomic_write
from thaw.storage.store import read_row
from thaw.storage.tables import RESTORE_HINT

LEAST_ROWS, ROOMY = 8, 2048
"""A file holds up to 8 rows; from 8 x 2048 rows in all it holds up to 16, and so on: then there are
1,500 to 3,000 files. Where the number doubles, nearly all are laid anew."""
KEY = re.compile("[0-9a-f]+")
HELD_BYTES = 2**29
"""Of rows that a training reads in every epoch, and so are kept in memory; more are read anew."""


class ArrayFolder:
    """A folder as `write_arrays` made it. A file in it is checked before the first of its rows is
    read; one that was cut or altered is refused by name.

    Attributes:
        keys: sorted.
        shape: of a row.
        dtype: of a row.
    """

    def __init__(self, folder: str | Path):
        self._recorded = RecordedOutput(folder)
        try:
            self.keys = self._recorded.check("keys.txt").read_text(encoding="ascii").split()
            if not self.keys or self.keys != sorted(set(self.keys)):
                raise ValueError("its keys are not in order, each once")
            if not all(KEY.fullmatch(key) for key in self.keys):
                raise ValueError("a key is no digest")
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}/keys.txt cannot be read: {error}. {RESTORE_HINT}") from None
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._files = array_files(self.keys)
        self._starts = np.array([start for _, start, _ in self._files])
        try:
            first = np.load(self._path(0), mmap_mode="r")
            if first.ndim < 1 or len(first) != self._files[0][2] or first.dtype.kind not in "fiub":
                raise ValueError(f"it has shape {first.shape}")
        except Exception as error:  # NumPy raises nearly everything on damaged files
            raise UserError(
                f"{self._path(0)} cannot be read: {error!s:.200}. {RESTORE_HINT}"
            ) from None
        self.shape, self.dtype = first.shape[1:], first.dtype
        self._bytes = first[0].nbytes

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, key: str) -> np.ndarray:
        return self._one(self._row_of[key])

    def select(self, keys) -> "np.ndarray | Selection":
        """The rows of `keys`, in their order: an array, or what is indexed by an array of numbers
        (n,) like one where they would take too much memory.

        Raises:
            KeyError: one is not here.
        """
        places = np.array([self._row_of[key] for key in keys], dtype=np.int64)
        selection = Selection(self, places)
        return selection[:] if len(places) * self._bytes <= HELD_BYTES else selection

    def digest(self) -> str:
        """Of keys and rows, for the recipe of a training."""
        seen = hashlib.sha256("".join(self.keys).encode())
        for number in range(len(self._files)):
            seen.update(np.ascontiguousarray(np.load(self._path(number), mmap_mode="r")))
        return seen.hexdigest()

    def read(self, places: np.ndarray) -> np.ndarray:
        """Rows (n, ...) by their numbers (n,)."""
        rows = np.empty((len(places), *self.shape), self.dtype)
        files = np.searchsorted(self._starts, places, side="right") - 1
        order = np.argsort(files, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            if len(some) == 1:
                rows[some[0]] = self._one(places[some[0]])
            elif len(some):
                number = files[some[0]]
                rows[some] = np.load(self._path(number))[places[some] - self._starts[number]]
        return rows

    def _one(self, place: int) -> np.ndarray:
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        _, start, stop = self._files[number]
        path = self._path(number)
        return read_row(path, int(place) - start, stop - start, self.shape, self.dtype)

    def _path(self, number: int) -> Path:
        return self._recorded.check(self._files[number][0])


class Selection:
    """Some rows of Arrays, in an order of their own, read as they are asked for."""

    def __init__(self, arrays: ArrayFolder, places: np.ndarray):
        self._arrays, self._places = arrays, places
        self.shape, self.dtype = (len(places), *arrays.shape), arrays.dtype

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, numbers: np.ndarray | slice) -> np.ndarray:
        return self._arrays.read(self._places[numbers])


def array_files(keys: list[str]) -> list[tuple[str, int, int]]:
    """How rows are laid in files: name, first row and end of each, in order.

    Rows whose keys begin with the same bits share a file; where they are too many, one bit more
    counts. So this depends on the keys alone, whenever they came, and a new row changes one file
    (but for the few numbers of rows at which the files' size doubles): what `dvc push` sends grows
    with what is new.

    Args:
        keys: hexadecimal, sorted, each once.
    """
    most = LEAST_ROWS
    while len(keys) >= most * ROOMY:
        most *= 2
    found: list[tuple[str, int, int]] = []
    waiting = [("", 0, len(keys))]
    while waiting:
        prefix, start, stop = waiting.pop()
        if stop - start <= most:
            if start < stop:
                found.append((f"rows-{prefix}.npy" if prefix else "rows.npy", start, stop))
            continue
        middle = bisect.bisect_left(keys, _least(f"{prefix}1"), start, stop)
        waiting += [(f"{prefix}1", middle, stop), (f"{prefix}0", start, middle)]
    return found


def _least(bits: str) -> str:
    """The least hexadecimal key that begins with these bits."""
    filled = bits.ljust(-(-len(bits) // 4) * 4, "0")
    return f"{int(filled, 2):0{len(filled) // 4}x}"


def write_array_folder(
    folder: str | Path, keys: list[str], row: Callable[[str], np.ndarray], recipe: dict
) -> None:
    """Write keys.txt, a key a line, sorted, recipe.json and the rows in files: the same always
    make the same bytes. Memory does not grow with their number.

    Args:
        keys: hexadecimal digests, in any order, at least one.
        row: gives the array of a key; all of one shape and dtype.
        recipe: what shaped the rows, by which thaw/storage/recovery.py knows them.
    """
    keys = sorted(set(keys))
    with atomic_write(folder) as part:
        part.mkdir()
        (part / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
        (part / "recipe.json").write_text(json.dumps(recipe, indent=1, sort_keys=True) + "\n")
        for name, start, stop in array_files(keys):
            np.save(part / name, np.stack([row(key) for key in keys[start:stop]]))
