"""List the user's image files with their digests, so that DVC detects changes."""

import csv
import io
import os
from pathlib import Path
from typing import Any

from thaw.data.download.mirror import sha256
from thaw.errors import UserError, bullet_list
from thaw.storage.files import atomic_write
from thaw.storage.remote import RemoteFile
from thaw.storage.store import CachedValue

INVENTORY = "data/inventory.csv"
COLUMNS = ["path", "bytes", "sha256"]  # of an object at an address, its version in place of sha256


class SourceNotHere(UserError):
    """The images are not on this machine, as in another user's clone.

    Args:
        message: The message for the user.
        here: Those files of the dataset that are on this machine, such as a manifest in git, by
            their names in the inventory.
    """

    def __init__(self, message: str, here: dict[str, Path] | None = None) -> None:
        super().__init__(message)
        self.here = here or {}


def write_inventory(
    files: dict[str, Path | RemoteFile], path: Path, source: str, inventory: str | Path
) -> None:
    """Write a CSV table with path, size in bytes and SHA-256 of every file of a dataset.

    Files whose size and times are unchanged since the last call are not read again. Objects at an
    address are not read: in place of the SHA-256 they have the version that their listing says.

    Args:
        files: The files by their names in the table.
        path: The folder, archive or manifest, under which the digests are cached.
        source: How messages name it.
        inventory: The file to write.

    Raises:
        UserError: A file cannot be read, or its name is not UTF-8.
    """
    digests = _KnownDigests(path)
    rows, bad = [], []
    for name, target in files.items():
        try:
            name.encode()
            if isinstance(target, RemoteFile):
                rows.append([name, target.size, target.version])
                continue
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


def matches_inventory(here: dict[str, Path], inventory: bytes) -> bool:
    """Return whether an inventory has these files with the digests that they have now."""
    rows = csv.DictReader(io.StringIO(inventory.decode(), newline=""))
    digests = {row["path"]: row["sha256"] for row in rows}
    return all(digests.get(name) == sha256(path) for name, path in here.items())


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
