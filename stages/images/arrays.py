"""Rows of one shape, each under the key of its content, memory-mapped."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.command import whole


class Arrays:
    """A folder with rows.npy (N, ...) and keys.txt, a key a line, sorted: the same rows always
    make the same bytes, whatever their files are called.

    Args:
        folder: as `write_arrays` made it.
    """

    def __init__(self, folder: str | Path):
        self.keys = (Path(folder) / "keys.txt").read_text().split()
        self.rows = np.load(Path(folder) / "rows.npy", mmap_mode="r")
        self._row_of = {key: row for row, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, key: str) -> np.ndarray:
        return self.rows[self._row_of[key]]

    def digest(self) -> str:
        """Of keys and rows, for the recipe of a training."""
        seen = hashlib.sha256("".join(self.keys).encode())
        for start in range(0, len(self.rows), 256):
            seen.update(np.ascontiguousarray(self.rows[start : start + 256]))
        return seen.hexdigest()

    def rows_of(self, keys) -> np.ndarray:
        """The row numbers (int64) of `keys`, in their order.

        Raises:
            KeyError: one is not here.
        """
        return np.array([self._row_of[key] for key in keys], dtype=np.int64)


def write_arrays(folder: str | Path, keys: list[str], row: Callable[[str], np.ndarray]) -> None:
    """Write the rows of `keys`, one at a time, so that memory does not grow with their number.

    Args:
        keys: in any order, at least one.
        row: gives the array of a key; all of one shape and dtype.
    """
    keys = sorted(set(keys))
    first = row(keys[0])
    with whole(folder) as part:
        part.mkdir()
        (part / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
        rows = np.lib.format.open_memmap(
            part / "rows.npy", "w+", first.dtype, (len(keys), *first.shape)
        )
        for number, key in enumerate(keys):
            rows[number] = row(key)
        rows.flush()
        del rows
