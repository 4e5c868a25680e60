"""Arrays of one shape, stored under the keys of their content in a folder of files.

A new array changes one file, so `dvc push` sends little after a dataset has grown.
"""

import bisect
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from thaw.errors import UserError
from thaw.storage.dvc import RecordedOutput
from thaw.storage.files import atomic_write
from thaw.storage.store import read_row
from thaw.storage.tables import RESTORE_HINT

Array = np.ndarray[Any, Any]

# A file has at most 8 rows. From 8 x 2,048 rows in total it has at most 16, and so on: large
# folders have 1,500 to 3,000 files. When the limit doubles, nearly all files are written again.
MIN_FILE_ROWS, ROWS_FACTOR = 8, 2048
KEY = re.compile("[0-9a-f]+")
MAX_BYTES_IN_MEMORY = 2**29  # of selected rows; more are read from disk in every epoch


class ArrayFolder:
    """A folder that `write_array_folder` wrote.

    Each file is compared with dvc.lock before its first row is read. A truncated or modified file
    raises a UserError.

    Args:
        folder: its path.

    Attributes:
        keys: sorted hexadecimal digests.
        shape: shape of a row.
        dtype: dtype of a row.

    Raises:
        UserError: the folder cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self._recorded = RecordedOutput(folder)
        try:
            self.keys = self._recorded.check("keys.txt").read_text(encoding="ascii").split()
            if not self.keys or self.keys != sorted(set(self.keys)):
                raise ValueError("its keys are not sorted and unique")
            if not all(KEY.fullmatch(key) for key in self.keys):
                raise ValueError("a key is not hexadecimal")
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}/keys.txt cannot be read: {error}. {RESTORE_HINT}") from None
        self._index_of = {key: index for index, key in enumerate(self.keys)}
        self._files = array_files(self.keys)
        self._starts = np.array([start for _, start, _ in self._files])
        try:
            first = np.load(self._path(0), mmap_mode="r")
            if first.ndim < 1 or len(first) != self._files[0][2] or first.dtype.kind not in "fiub":
                raise ValueError(f"it has shape {first.shape}")
        except Exception as error:  # NumPy raises many types for damaged files
            raise UserError(
                f"{self._path(0)} cannot be read: {error!s:.200}. {RESTORE_HINT}"
            ) from None
        self.shape, self.dtype = first.shape[1:], first.dtype
        self._row_bytes = first[0].nbytes

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, key: str) -> Array:
        return self._read_one(self._index_of[key])

    def select(self, keys: Iterable[str]) -> "Array | Selection":
        """Return the rows of `keys`, in that order.

        Returns:
            (n, *shape), an array, or a Selection if the rows take more than MAX_BYTES_IN_MEMORY.

        Raises:
            KeyError: the folder lacks a key.
        """
        indices = np.array([self._index_of[key] for key in keys], dtype=np.int64)
        selection = Selection(self, indices)
        in_memory = len(indices) * self._row_bytes <= MAX_BYTES_IN_MEMORY
        return selection[:] if in_memory else selection

    def digest(self) -> str:
        """Return the SHA-256 of keys and rows, for the recipe of a training."""
        digest = hashlib.sha256("".join(self.keys).encode())
        for number in range(len(self._files)):
            digest.update(np.ascontiguousarray(np.load(self._path(number), mmap_mode="r")).data)
        return digest.hexdigest()

    def read(self, indices: Array) -> Array:
        """Return the rows (n, *shape) at indices (n,) of `keys`."""
        rows = np.empty((len(indices), *self.shape), self.dtype)
        files = np.searchsorted(self._starts, indices, side="right") - 1
        order = np.argsort(files, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):  # one per file
            if len(group) == 1:
                rows[group[0]] = self._read_one(indices[group[0]])
            elif len(group):
                number = files[group[0]]
                rows[group] = np.load(self._path(number))[indices[group] - self._starts[number]]
        return rows

    def _read_one(self, index: int) -> Array:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        _, start, stop = self._files[number]
        path = self._path(number)
        return read_row(path, int(index) - start, stop - start, self.shape, self.dtype)

    def _path(self, number: int) -> Path:
        return self._recorded.check(self._files[number][0])


class Selection:
    """Selected rows of an ArrayFolder, indexed like an array and read from disk on demand."""

    def __init__(self, arrays: ArrayFolder, indices: Array) -> None:
        self._arrays, self._indices = arrays, indices
        self.shape, self.dtype = (len(indices), *arrays.shape), arrays.dtype

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, indices: Array | slice) -> Array:
        return self._arrays.read(self._indices[indices])


def array_files(keys: list[str]) -> list[tuple[str, int, int]]:
    """Return the files that rows are written to.

    Keys that begin with the same bits share a file. If a file would have too many rows, one more
    bit is compared. So the files depend on the keys alone, in whatever order they were added, and a
    new row changes one file (except where the limit of rows per file doubles).

    Args:
        keys: hexadecimal, sorted, unique.

    Returns:
        (file name, index of its first row, index after its last row), sorted.
    """
    most = MIN_FILE_ROWS
    while len(keys) >= most * ROWS_FACTOR:
        most *= 2
    files: list[tuple[str, int, int]] = []
    pending = [("", 0, len(keys))]  # bits that the keys begin with, first row, end
    while pending:
        prefix, start, stop = pending.pop()
        if stop - start <= most:
            if start < stop:
                files.append((f"rows-{prefix}.npy" if prefix else "rows.npy", start, stop))
            continue
        middle = bisect.bisect_left(keys, _smallest_key(f"{prefix}1"), start, stop)
        pending += [(f"{prefix}1", middle, stop), (f"{prefix}0", start, middle)]
    return files


def _smallest_key(bits: str) -> str:
    """Return the smallest hexadecimal key that begins with these bits."""
    filled = bits.ljust(-(-len(bits) // 4) * 4, "0")
    return f"{int(filled, 2):0{len(filled) // 4}x}"


def write_array_folder(
    folder: str | Path, keys: Iterable[str], row: Callable[[str], Array], recipe: dict[str, Any]
) -> None:
    """Write arrays to a folder: keys.txt (sorted), recipe.json and .npy files of rows.

    The same arguments always give the same bytes. Memory does not grow with the number of rows.

    Args:
        folder: where to write. An earlier folder is replaced.
        keys: hexadecimal digests, in any order, at least one.
        row: returns the array of a key. All have the same shape and dtype.
        recipe: everything that shapes the rows; thaw/storage/recovery.py compares it.
    """
    keys = sorted(set(keys))
    with atomic_write(folder) as part:
        part.mkdir()
        (part / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
        (part / "recipe.json").write_text(json.dumps(recipe, indent=1, sort_keys=True) + "\n")
        for name, start, stop in array_files(keys):
            np.save(part / name, np.stack([row(key) for key in keys[start:stop]]))
