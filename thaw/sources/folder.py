"""The user's images: a folder or an archive with a sub-folder for each class."""

from pathlib import Path
from typing import Literal

from thaw.config.dataset import FolderSource
from thaw.data.collecting import collect_archive, collect_folder
from thaw.data.tree import locate

SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(FolderSource):
    """`dataset.source` of kind folder."""

    kind: Literal["folder"]
    path: str
    """A folder or an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz); relative to the repository,
    or absolute."""


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images into `into`.

    Returns:
        For each image its `path` in `into`, `label`, `split` and `group`, "" where unknown.

    Raises:
        UserError: The source does not exist, or its layout is unknown or ambiguous.
    """
    path = locate(source.path)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path, source)
