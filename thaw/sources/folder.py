"""The user's images: a folder or an archive with a sub-folder for each class."""

from pathlib import Path
from typing import Literal

from thaw.config.dataset import Source
from thaw.data.class_folders import collect_archive, collect_folder, locate

SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(Source):
    """`dataset.source` of kind folder."""

    kind: Literal["folder"]
    path: str
    """A folder, .zip, .tar or .tar.gz file; relative to the repository, or absolute."""


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images into `into`.

    Returns:
        For each image its `path` in `into`, `label`, and `split` ("" if the source has none).

    Raises:
        UserError: The source does not exist or is not laid out in class folders.
    """
    path = locate(source.path)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path)
