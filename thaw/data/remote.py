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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from thaw.data.archives import is_archive
from thaw.data.raw import REMOTE_COLUMNS, REMOTE_TABLE
from thaw.data.tree import is_leftover
from thaw.errors import UserError, bullet_list, note_progress
from thaw.runtime.progress import Progress
from thaw.storage.addresses import is_remote
from thaw.storage.dvc import project_root
from thaw.storage.remote import DOWNLOADS, Remote, RemoteFile, file_name
from thaw.storage.store import store_root

BATCH = 1024  # downloads that wait for a thread at once; bounds the memory
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
    if not keep_raw and (not is_remote(address) or is_archive(Path(file_name(address)))):
        raise ValueError(
            f"expected true for {address!r}; false needs the address of a folder, such as "
            f"s3://bucket/folder or file:///data/photos"
        )


def download(remote: Remote, files: list[RemoteFile], scratch: Path) -> list[Path]:
    """Return the downloaded objects in order. See `RemoteFolder.download`."""
    chosen = os.environ.get("THAW_STORE")
    has_store = (project_root() / ".dvc").is_dir() or (chosen and not is_remote(chosen))
    folder = (store_root() if has_store else scratch) / "objects"
    targets = [folder / _place(remote, file) for file in files]
    with _locked(folder):  # a queued experiment may download the same objects
        missing = [pair for pair in zip(targets, files, strict=True) if not _is_complete(*pair)]
        for parent in {target.parent for target, _ in missing}:
            parent.mkdir(exist_ok=True)
        pool = ThreadPoolExecutor(DOWNLOADS)
        try:
            with Progress("download", len(missing), "objects") as progress:
                for done, _ in enumerate(_each(pool, remote, missing), start=1):
                    note_progress(f"{done:,} of {len(missing):,} downloads")
                    progress.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)
    if missing:
        size = sum(target.stat().st_size for target, _ in missing)
        print(f"downloaded {len(missing):,} of {len(files):,} objects ({size / 1e6:,.1f} MB)")
    return targets


def _each(
    pool: ThreadPoolExecutor, remote: Remote, missing: list[tuple[Path, RemoteFile]]
) -> Iterator[None]:
    for start in range(0, len(missing), BATCH):
        yield from pool.map(lambda pair: remote.download(pair[1], pair[0]), missing[start:][:BATCH])


def _place(remote: Remote, file: RemoteFile) -> str:
    """Return the path of an object in the store, which depends on its address and version."""
    address = remote.name(file)
    key = hashlib.sha256(f"{address}\n{file.size}\n{file.version}".encode(errors="surrogateescape"))
    digest = key.hexdigest()
    return f"{digest[:2]}/{digest[2:32]}-{file_name(address)[-MOST_NAME:]}"


def _is_complete(target: Path, file: RemoteFile) -> bool:
    try:
        return file.size in (None, target.stat().st_size)
    except OSError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
