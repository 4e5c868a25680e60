"""The user's images: a folder or an archive with a sub-folder for each class."""

from pathlib import Path
from typing import Literal

from thaw.config.dataset import FolderSource
from thaw.data.collecting import collect_archive, collect_folder
from thaw.data.inventory import SourceNotHere
from thaw.data.tree import list_files, locate, selector
from thaw.errors import UserError

SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(FolderSource):
    """`dataset.source` of kind folder."""

    kind: Literal["folder"]
    """The kind of source."""
    path: str
    """A folder or an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz); relative to the repository,
    or absolute."""


def files(source: Parameters) -> dict[str, Path]:
    """Return the files of the source, by the names that the inventory gives them.

    Raises:
        SourceNotHere: The source does not exist on this machine.
        UserError: A folder cannot be listed.
    """
    try:
        path = locate(source.path)
    except UserError as error:
        raise SourceNotHere(str(error)) from None
    if not path.is_dir():
        return {path.name: path}
    return {file: path / file for file in filter(selector(source), list_files(path))}


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images into `into`.

    Returns:
        For each image its `path` in `into`, `label`, `split` and `group`, "" where unknown.

    Raises:
        UserError: The source does not exist, or its layout is unknown or ambiguous.
    """
    path = locate(source.path)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path, source)
