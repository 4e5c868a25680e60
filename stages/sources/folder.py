"""The user's own images: a folder or an archive with a sub-folder for each class."""

from pathlib import Path
from typing import Literal

from stages.command import Refusal
from stages.params.dataset import Source
from stages.sources.archive import SUFFIXES, is_archive
from stages.sources.class_folders import collect_archive, collect_folder
from stages.sources.class_folders import files as files  # for the scan
from stages.store import users_path


class Parameters(Source):
    kind: Literal["folder"]
    path: str
    """A directory, .zip, .tar or .tar.gz; relative to the repository, or absolute."""


def find(source: Parameters) -> Path:
    """The source's path.

    Raises:
        Refusal: there is nothing, or neither a folder nor an archive.
    """
    path = Path(source.path).expanduser()
    if not path.exists():
        path = users_path(source.path)
    if not path.exists():
        raise Refusal(
            f"dataset.source.path = {source.path!r}: no such folder or archive. "
            f"Give a folder with a sub-folder for each class: -S dataset.source.path=PATH."
        )
    if not path.is_dir() and not is_archive(path):
        raise Refusal(
            f"dataset.source.path = {source.path!r}: expected a folder or one of "
            f"{', '.join(SUFFIXES)}."
        )
    return path


def collect(source: Parameters, into: Path) -> list[dict]:
    """Bring the images into `into`, and tell of each its path there, label and, where the user
    made splits, its split.

    Raises:
        Refusal: there are no two classes with images in them, or folders that do not fit.
    """
    path = find(source)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path)
