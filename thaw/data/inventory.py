"""List the user's image files with their digests, so that DVC detects changes."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thaw.data.download.mirror import sha256
from thaw.data.tree import list_files
from thaw.errors import UserError, bullet_list
from thaw.storage.files import atomic_write
from thaw.storage.store import CachedValue

INVENTORY = "data/inventory.csv"
COLUMNS = ["path", "bytes", "sha256"]


def write_inventory(
    path: Path,
    source: str,
    inventory: str | Path,
    selected: Callable[[str], bool] = lambda _: True,
) -> None:
    """Write a CSV table with path, size in bytes and SHA-256 of every file of a dataset.

    Files whose size and times are unchanged since the last call are not read again.

    Args:
        path: The folder or archive.
        source: How messages name it.
        inventory: The file to write.
        selected: Says whether the file with this relative path in a folder is part of the dataset.

    Raises:
        UserError: A file cannot be read, or its name is not UTF-8.
    """
    digests = _KnownDigests(path)
    rows, bad = [], []
    for relative in filter(selected, list_files(path)) if path.is_dir() else [""]:
        target, name = (path / relative, relative) if relative else (path, path.name)
        try:
            name.encode()
            rows.append([name, target.stat().st_size, digests.sha256(target)])
        except UnicodeEncodeError:
            bad.append(f"{name!r}: its name is not UTF-8")
        except OSError as error:
            bad.append(f"{name}: {error.strerror}")
    if bad:
        raise UserError(
            f"{len(bad)} files of {source} cannot be read. Fix or remove them:\n{bullet_list(bad)}"
        )
    with atomic_write(inventory) as part, open(part, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(rows)
    digests.save()


class _KnownDigests:
    """Caches the digests of files between runs, by path, size and both times.

    A copied file keeps its modification time, but not the time of its inode.
    """

    def __init__(self, path: Path) -> None:
        self.cached = CachedValue("scanned", os.path.realpath(path))
        before = self.cached.read()
        self.before: dict[str, list[Any]] = before if isinstance(before, dict) else {}
        self.now: dict[str, list[Any]] = {}

    def sha256(self, path: Path) -> str:
        stat, key = path.stat(), os.path.abspath(path)
        known = self.before.get(key)
        now = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        if not isinstance(known, list) or known[:-1] != now:
            known = [*now, sha256(path)]
        self.now[key] = known
        return str(known[-1])

    def save(self) -> None:
        if self.now != self.before:
            self.cached.write(self.now)
