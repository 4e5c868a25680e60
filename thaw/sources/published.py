"""An archive that somebody publishes, with a sub-folder for each class, as `folder` reads it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from thaw.config.dataset import Source
from thaw.data.class_folders import collect_archive
from thaw.data.download.fetch import fetch


class Parameters(Source):
    kind: Literal["published"]
    url: Annotated[str, Field(pattern="^https?://.*/[^/?]+$")]
    """Of a .zip, .tar or .tar.gz; its last part is also the name to find it by in THAW_MIRROR."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the archive."""


def collect(source: Parameters, into: Path) -> list[dict]:
    """Pack the archive's images into `into`, and tell of each its path there, label and, where
    the archive has splits, its split.

    Raises:
        UserError: the archive cannot be had, or is not laid out like that.
    """
    archive = fetch(source.url.rpartition("/")[2], source.sha256, source.url)
    return collect_archive(archive, into, source.url)
