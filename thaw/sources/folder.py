"""The user's images: a folder or an archive with a sub-folder for each class."""

import tempfile
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from thaw.config.dataset import FolderSource
from thaw.data.collecting import collect_archive, collect_folder, read_layout
from thaw.data.inventory import SourceNotHere
from thaw.data.remote import (
    RemoteFolder,
    check_keep_raw,
    download_file,
    is_remote_archive,
    remote_file,
)
from thaw.data.tree import list_files, locate, selector
from thaw.storage.addresses import Unreachable, is_remote
from thaw.storage.remote import RemoteFile

SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(FolderSource):
    """`dataset.source` of kind folder."""

    kind: Literal["folder"]
    """The kind of source."""
    path: str
    """A folder or an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz): a path relative to the
    repository or absolute, or an address such as s3://bucket/folder."""
    keep_raw: bool = True
    """Copy the images to data/raw. False decodes them while they are downloaded, and keeps no
    files; it needs the address of a folder."""

    @model_validator(mode="after")
    def _check_keep_raw(self) -> Self:
        check_keep_raw(self.keep_raw, self.path)
        return self


def files(source: Parameters) -> dict[str, Path] | dict[str, RemoteFile]:
    """Return the files of the source, by the names that the inventory gives them.

    Raises:
        SourceNotHere: The source does not exist on this machine, or does not answer.
        UserError: The path is of another kind, or a folder cannot be listed.
    """
    try:
        if is_remote_archive(source.path):
            return remote_file(source.path)
        if is_remote(source.path):
            objects, selected = RemoteFolder(source.path).visible(), selector(source)
            return {name: file for name, file in objects.items() if selected(name)}
    except Unreachable as error:
        raise SourceNotHere(str(error)) from error
    path = locate(source.path)
    if not path.is_dir():
        return {path.name: path}
    return {file: path / file for file in filter(selector(source), list_files(path))}


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images into `into`.

    Returns:
        For each image its `path` in `into`, `label`, `split` and `group`, "" where unknown.

    Raises:
        UserError: The source does not exist or does not answer, or its layout is unknown or
            ambiguous.
    """
    if is_remote_archive(source.path):
        with tempfile.TemporaryDirectory(dir=into) as scratch:
            archive = download_file(source.path, Path(scratch))
            return collect_archive(archive, into, source.path, source)
    if is_remote(source.path):
        folder = RemoteFolder(source.path)
        rows = _read_folder(folder, source, into)
        folder.collect(rows, into, source.keep_raw)
        return rows
    path = locate(source.path)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path, source)


def read(source: Parameters, scratch: Path) -> list[dict[str, str]]:
    """Return the rows of `collect` for an address. The images of a folder are not downloaded.

    Args:
        source: Its `path` is an address.
        scratch: An empty folder for temporary files.

    Raises:
        UserError: The source does not answer, or its layout is unknown or ambiguous.
    """
    if is_remote_archive(source.path):
        return collect(source, scratch)
    return _read_folder(RemoteFolder(source.path), source, scratch)


def _read_folder(folder: RemoteFolder, source: Parameters, scratch: Path) -> list[dict[str, str]]:
    with tempfile.TemporaryDirectory(dir=scratch) as outline:
        folder.outline(Path(outline))
        return read_layout(Path(outline), source.path, source)
