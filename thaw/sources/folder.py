"""The user's own images: a folder or an archive with a sub-folder for each class."""

from pathlib import Path
from typing import Literal

from thaw.config.dataset import Source
from thaw.data.class_folders import collect_archive, collect_folder, locate

SCANNED = True  # dvc.yaml has a stage that notices when a file changed


class Parameters(Source):
    kind: Literal["folder"]
    path: str
    """A directory, .zip, .tar or .tar.gz; relative to the repository, or absolute."""


def collect(source: Parameters, into: Path) -> list[dict]:
    """Bring the images into `into`, and tell of each its path there, label and, where the user
    made splits, its split.

    Raises:
        UserError: there are no two classes with images in them, or folders that do not fit.
    """
    path = locate(source.path)
    return (collect_folder if path.is_dir() else collect_archive)(path, into, source.path)
