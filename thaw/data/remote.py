"""Images at an address: list them, download each once, or read them without keeping them.

A folder at an address becomes an outline, a local folder with the same names and empty files. The
readers of local folders and manifests read it, and say which objects are images. Only these are
downloaded, into a part of the store that is keyed by the objects' versions. So after a kill, on
another branch or with new objects, only what is missing is downloaded.
"""

import csv
import fcntl
import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from thaw.data.archives import is_archive
from thaw.data.download.mirror import sha256
from thaw.data.raw import REMOTE_COLUMNS, REMOTE_TABLE
from thaw.data.tree import is_leftover
from thaw.errors import UserError, bullet_list, note_progress
from thaw.runtime.progress import Progress
from thaw.storage.addresses import is_remote
from thaw.storage.dvc import project_root
from thaw.storage.remote import DOWNLOADS, Remote, RemoteFile, file_name
from thaw.storage.store import store_root

BATCH = 1024  # downloads that wait for a thread at once; bounds the memory
DIGITS = 16  # of an object's SHA-256 that its file in the store has in its name
MOST_NAME = 50  # characters of an object's name that its file in the store has


class RemoteFolder:
    """The objects below an address.

    Args:
        address: Such as s3://bucket/folder.

    Raises:
        Unreachable: The package of the protocol is missing.
        UserError: The address is invalid.
    """

    def __init__(self, address: str) -> None:
        self.address, self.remote = address, Remote(address)

    @cached_property
    def files(self) -> dict[str, RemoteFile]:
        """All objects by their relative paths.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: There is no object, or its name cannot be that of a file.
        """
        files = self.remote.files()
        folders: set[str] = set()
        for name in files:
            while (name := posixpath.dirname(name)) and name not in folders:
                folders.add(name)
        bad = [
            name
            for name in files
            if name in folders or "\0" in name or {"", ".", ".."} & set(name.split("/"))
        ]
        if bad:
            raise UserError(
                f"{len(bad)} objects of {self.address} have names that cannot be those of files. "
                f"Rename or remove them:\n{bullet_list([repr(name) for name in bad])}"
            )
        return files

    def visible(self) -> dict[str, RemoteFile]:
        """Return the objects that are neither hidden nor left by a system or a tool."""
        return {
            name: file
            for name, file in self.files.items()
            if not any(map(is_leftover, name.split("/")))
        }

    def outline(self, into: Path) -> None:
        """Write an empty file for each object."""
        made = set()
        for name in self.files:
            path = into / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            path.touch()

    def download(self, names: list[str], scratch: Path) -> list[Path]:
        """Return the downloaded objects in the order of their names. Do not change them.

        Args:
            names: Relative paths of objects.
            scratch: Where to download to outside a project, which has a store.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: An object does not exist any more, or was received in part.
        """
        return download(self.remote, [self.files[name] for name in names], scratch)

    def collect(
        self, rows: list[dict[str, str]], into: Path, keep_raw: bool, inside: str = "."
    ) -> None:
        """Copy images to data/raw, or list there where each is read.

        Args:
            rows: For each image its `path`, which becomes that in data/raw.
            into: data/raw.
            keep_raw: False lists the objects in a table, from which `RawFiles` reads them.
            inside: The sub-folder that the paths start from.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: An object does not exist any more, or was received in part.
        """
        prefix = "" if inside == "." else f"{inside}/"
        names = [prefix + row["path"] for row in rows]
        for row in rows:
            row["path"] = f"images/{row['path']}"
        if keep_raw:
            with tempfile.TemporaryDirectory(dir=into) as scratch:
                for row, copy in zip(rows, self.download(names, Path(scratch)), strict=True):
                    target = into / row["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(copy, target)
            return
        with open(into / REMOTE_TABLE, "w", newline="", encoding="utf-8") as opened:
            table = csv.writer(opened, lineterminator="\n")
            table.writerow(REMOTE_COLUMNS)
            for row, name in sorted(zip(rows, names, strict=True), key=lambda pair: pair[1]):
                file = self.files[name]
                table.writerow([row["path"], self.address, file.path, file.size, file.version])


def download_file(address: str, scratch: Path) -> Path:
    """Return the downloaded object at an address, such as an archive. Do not change it.

    Args:
        address: The object.
        scratch: Where to download to outside a project, which has a store.

    Raises:
        Unreachable: The storage does not answer, or refuses access.
        UserError: There is no such object, or it was received in part.
    """
    remote = Remote(address)
    (path,) = download(remote, [remote.file()], scratch)
    return path


def remote_file(address: str) -> dict[str, RemoteFile]:
    """Return the object at an address, by its name in the inventory.

    Raises:
        Unreachable: The storage does not answer, or refuses access.
        UserError: There is no such object.
    """
    return {file_name(address): Remote(address).file()}


def is_remote_archive(address: str) -> bool:
    """Return whether an address ends in the suffix of an archive."""
    return is_remote(address) and is_archive(Path(file_name(address)))


def check_keep_raw(keep_raw: bool, address: str) -> None:
    """Check that `dataset.source.keep_raw` can be false for this source.

    Raises:
        ValueError: It is false, and the images are no single objects at an address.
    """
    if not keep_raw and (not is_remote(address) or is_remote_archive(address)):
        raise ValueError(
            f"expected true for {address!r}; false needs the address of a folder, such as "
            f"s3://bucket/folder or file:///data/photos"
        )


def download(remote: Remote, files: list[RemoteFile], scratch: Path) -> list[Path]:
    """Return the downloaded objects in order. See `RemoteFolder.download`."""
    chosen = os.environ.get("THAW_STORE")
    has_store = (project_root() / ".dvc").is_dir() or (chosen and not is_remote(chosen))
    folder = (store_root() if has_store else scratch) / "objects"
    keys = [_object_key(remote, file) for file in files]
    pool = ThreadPoolExecutor(DOWNLOADS)
    try:
        with _locked(folder):  # a queued experiment may download the same objects
            kept = _kept_objects(folder)
            present = [(key, kept[key]) for key in keys if key in kept]
            for (key, path), intact in zip(present, _each(pool, _is_intact, present), strict=True):
                if not intact:
                    print(f"{path} was truncated or modified and is downloaded again", flush=True)
                    kept.pop(key).unlink()
            missing = [pair for pair in zip(keys, files, strict=True) if pair[0] not in kept]
            with Progress("download", len(missing), "objects") as progress:
                received = _each(pool, partial(_receive, remote, folder), missing)
                for done, (pair, path) in enumerate(zip(missing, received, strict=True), start=1):
                    kept[pair[0]] = path
                    note_progress(f"{done:,} of {len(missing):,} downloads")
                    progress.advance(1)
    finally:
        pool.shutdown(cancel_futures=True)
    if missing:
        size = sum(kept[key].stat().st_size for key, _ in missing)
        print(f"downloaded {len(missing):,} of {len(files):,} objects ({size / 1e6:,.1f} MB)")
    return [kept[key] for key in keys]


def _each(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: list[Any]
) -> Iterator[Any]:
    """Yield the results in order. Few of many items wait for a thread at a time."""
    for start in range(0, len(items), BATCH):
        yield from pool.map(function, items[start : start + BATCH])


def _receive(remote: Remote, folder: Path, pair: tuple[str, RemoteFile]) -> Path:
    """Download an object into the store, and return its path, which has the digest."""
    key, file = pair
    target = folder / key[:2] / key[2:]
    target.parent.mkdir(exist_ok=True)
    remote.download(file, target)
    name = file_name(remote.name(file))[-MOST_NAME:]
    final = target.with_name(f"{target.name}-{sha256(target)[:DIGITS]}-{name}")
    os.replace(target, final)
    return final


def _object_key(remote: Remote, file: RemoteFile) -> str:
    """Return a digest of the address and the version of an object."""
    text = f"{remote.name(file)}\n{file.size}\n{file.version}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def _kept_objects(folder: Path) -> dict[str, Path]:
    """Return the objects in the store by their keys."""
    parts = ((path, path.name.split("-", 2)) for path in folder.glob("??/*-*"))
    return {path.parent.name + part[0]: path for path, part in parts}


def _is_intact(kept: tuple[str, Path]) -> bool:
    _, path = kept
    return sha256(path)[:DIGITS] == path.name.split("-", 2)[1]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
