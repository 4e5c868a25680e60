"""Stage scan: look at the user's folder, so that `download` reruns when its content changed.

It runs at every `dvc repro` and is quick: a file whose size and time are as before is not read
again. Where the folder is not on this machine, as in a colleague's clone, the inventory that
dvc.lock records is brought back instead and nothing downstream changes.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import yaml

from stages.command import Refusal, naming, whole
from stages.images.recorded import recorded_file
from stages.params.base import read
from stages.params.dataset import source
from stages.sources.folder import Parameters, files, find
from stages.sources.mirror import sha256
from stages.store import Note


def main(name: str) -> None:
    """Write the inventory: path, bytes and SHA-256 of every file of the source."""
    parameters = source(read("dataset", "source"))
    try:
        path = find(parameters)
    except Refusal:
        recorded = _recorded(name, parameters)
        if recorded is None:
            raise
        with whole(parameters.inventory) as part:
            part.write_bytes(recorded)
        print(f"{parameters.path} is not on this machine: going on with what dvc.lock records.")
        return
    listed = files(path) if path.is_dir() else [""]
    seen = _Seen(path)
    rows, bad = [], []
    for relative in listed:
        target = path / relative if relative else path
        name = relative or path.name
        try:
            name.encode()
            rows.append([name, target.stat().st_size, seen.sha256(target)])
        except UnicodeEncodeError:
            bad.append(f"{name!r}: its name is not UTF-8")
        except OSError as error:
            bad.append(f"{name}: {error.strerror}")
    if bad:
        raise Refusal(
            f"{len(bad)} files of {parameters.path} cannot be read. Mend or remove them:\n"
            + naming(bad)
        )
    with whole(parameters.inventory) as part, open(part, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "bytes", "sha256"])
        table.writerows(rows)
    seen.keep()


class _Seen:
    """The digests of files that were read before, by path, size and times: of the content, which
    a copy takes along, and of the inode, which it does not."""

    def __init__(self, path: Path):
        self.note = Note("scanned", os.path.realpath(path))
        self.before = held if isinstance(held := self.note.read(), dict) else {}
        self.now: dict[str, list] = {}

    def sha256(self, path: Path) -> str:
        stat, key = path.stat(), os.path.abspath(path)
        known = self.before.get(key)
        now = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        if not isinstance(known, list) or known[:-1] != now:
            known = [*now, sha256(path)]
        self.now[key] = known
        return known[-1]

    def keep(self) -> None:
        if self.now != self.before:
            self.note.write(self.now)


def _recorded(name: str, parameters: Parameters) -> bytes | None:
    """The inventory that dvc.lock records for this path, out of DVC's cache or its remote."""
    lock = Path("dvc.lock")
    stages = yaml.safe_load(lock.read_text())["stages"] if lock.exists() else {}
    stage = stages.get(f"scan@{name}")
    if not stage or stage["params"]["params.yaml"]["dataset.source"]["path"] != parameters.path:
        return None
    content = recorded_file(parameters.inventory)
    if content is None:  # a clone that has not pulled everything
        fetch = [sys.executable, "-m", "dvc", "fetch", "--quiet", f"scan@{name}"]
        subprocess.run(fetch, capture_output=True)
        content = recorded_file(parameters.inventory)
    return content
