"""List the files of the user's images, so that DVC notices when one changes."""

import csv
import os
from pathlib import Path

from thaw.data.class_folders import list_files
from thaw.data.download.mirror import sha256
from thaw.errors import UserError, bullet_list
from thaw.storage.files import atomic_write
from thaw.storage.store import CachedValue

INVENTORY = "data/inventory.csv"
COLUMNS = ["path", "bytes", "sha256"]


def write_inventory(path: Path, given: str, inventory: str | Path) -> None:
    """Write path, bytes and SHA-256 of every file of a folder, or of an archive, as CSV.

    A file whose size and times are unchanged is not read again.

    Args:
        path: the folder or archive.
        given: how the user wrote it, for messages.
        inventory: the file to write.

    Raises:
        UserError: a file cannot be read, or its name is not UTF-8.
    """
    digests = _KnownDigests(path)
    rows, bad = [], []
    for relative in list_files(path) if path.is_dir() else [""]:
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
            f"{len(bad)} files of {given} cannot be read. Fix or remove them:\n{bullet_list(bad)}"
        )
    with atomic_write(inventory) as part, open(part, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(rows)
    digests.save()


class _KnownDigests:
    """Digests of files by path, size and both times: the content's time travels with a copy, the
    inode's does not."""

    def __init__(self, path: Path):
        self.cached = CachedValue("scanned", os.path.realpath(path))
        before = self.cached.read()
        self.before: dict[str, list] = before if isinstance(before, dict) else {}
        self.now: dict[str, list] = {}

    def sha256(self, path: Path) -> str:
        stat, key = path.stat(), os.path.abspath(path)
        known = self.before.get(key)
        now = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        if not isinstance(known, list) or known[:-1] != now:
            known = [*now, sha256(path)]
        self.now[key] = known
        return known[-1]

    def save(self) -> None:
        if self.now != self.before:
            self.cached.write(self.now)
