"""The user's images: a folder or an archive with a sub-folder for each class."""

from pathlib import Path
from typing import Literal

from thaw.config.dataset import Source
from thaw.data.class_folders import collect_archive, collect_folder, list_files, locate
from thaw.data.inventory import SourceNotHere
from thaw.errors import UserError

SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(Source):
    """`dataset.source` of kind folder."""

    kind: Literal["folder"]
    path: str
    """A folder, .zip, .tar or .tar.gz file; relative to the repository, or absolute."""


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
    return {f: path / f for f in list_files(path)} if path.is_dir() else {path.name: path}


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images into `into`.

    Returns:
        For each image its `path` in `into`, `label`, and `split` ("" if the source has none).

    Raises:
        UserError: The source does not exist or is not laid out in class folders.
    """
    path = locate(source.path)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path)
