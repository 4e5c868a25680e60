"""A published archive with a sub-folder for each class, laid out like the source `folder`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from thaw.config.dataset import FolderSource
from thaw.data.collecting import collect_archive
from thaw.data.download.fetch import fetch


class Parameters(FolderSource):
    """`dataset.source` of kind published."""

    kind: Literal["published"]
    """The kind of source."""
    url: Annotated[str, Field(pattern="^https?://.*/[^/?]+$")]
    """URL of an archive. Its last part is the file name in THAW_MIRROR."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the archive."""


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Download the archive and pack its images into one new archive in `into`.

    Returns:
        For each image its `path` in `into`, `label`, `split` and `group`, "" where unknown.

    Raises:
        UserError: The archive cannot be downloaded or its layout is unknown.
    """
    archive = fetch(source.url.rpartition("/")[2], source.sha256, source.url)
    return collect_archive(archive, into, source.url, source)
