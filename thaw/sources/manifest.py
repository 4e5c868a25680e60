"""The user's images, listed with their labels in a CSV, TSV, JSON Lines or Parquet file."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from thaw.config.dataset import Source
from thaw.data.archives import SUFFIXES, is_archive, unpack
from thaw.data.inventory import SourceNotHere
from thaw.data.manifest.columns import Columns
from thaw.data.manifest.reading import find_manifests, read_manifest
from thaw.data.manifest.rows import Manifest
from thaw.data.manifest.table import READERS
from thaw.data.raw import ARCHIVE, packed_archive
from thaw.errors import UserError
from thaw.storage.dvc import user_path

SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(Source):
    """`dataset.source` of kind manifest."""

    kind: Literal["manifest"]
    """The kind of source."""
    path: str
    """A .csv, .tsv, .jsonl or .parquet file, or a folder or archive that contains one; relative to
    the repository, or absolute."""
    images: str | None = None
    """Folder or archive that the paths in the manifest start from; null: the manifest's folder."""
    columns: Columns = Columns()
    """Which column has what."""


def files(source: Parameters) -> dict[str, Path]:
    """Return the files that `collect` reads, by the names that the inventory gives them.

    Raises:
        SourceNotHere: The manifest or its images do not exist on this machine.
        UserError: The manifest cannot be used.
    """
    path = _locate("path", source.path)
    here = {path.name: path} if path.is_file() else {}
    try:
        images = _locate("images", source.images) if source.images else None
        if is_archive(path):
            return here | ({images.name: images} if images and is_archive(images) else {})
        manifests = _manifests(path, source.path)
        here = {manifest.relative_to(path.parent).as_posix(): manifest for manifest in manifests}
        if images and is_archive(images):
            return here | {images.name: images}
        root, manifest = _read(source, manifests, images)
    except SourceNotHere as error:
        raise SourceNotHere(str(error), here) from None
    return here | {f"images/{row['path']}": root / row["path"] for row in manifest.rows}


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images that the manifest names into `into`.

    Returns:
        For each image its `path` in `into`, `label` ("" for unlabelled), `split`, `group`,
        `confidence` ("" for none), and the further columns of the manifest.

    Raises:
        UserError: The manifest or an image does not exist, or the manifest is ambiguous or
            contradictory.
    """
    with opened(source, into) as (root, manifest):
        packed = is_archive(Path(source.images or source.path))
        (_pack if packed else _copy)(manifest, root, into)
    print("\n".join(manifest.notes))
    return manifest.rows


@contextlib.contextmanager
def opened(source: Parameters, scratch: Path) -> Iterator[tuple[Path, Manifest]]:
    """Read a manifest, and unpack archives below `scratch` for the while.

    Yields:
        The folder that the paths in the manifest start from, and the images.

    Raises:
        UserError: As for `collect`.
    """
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(_unpacked(_locate("path", source.path), scratch))
        images = (
            stack.enter_context(_unpacked(_locate("images", source.images), scratch))
            if source.images
            else None
        )
        yield _read(source, _manifests(path, source.path), images)


def _locate(key: str, text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        path = user_path(text)
    if not path.exists():
        raise SourceNotHere(
            f"dataset.source.{key} = {text!r}: no such file or folder. "
            f"Set it with -S dataset.source.{key}=PATH."
        )
    suffixes = (*SUFFIXES, *READERS) if key == "path" else SUFFIXES
    if not path.is_dir() and not path.name.lower().endswith(suffixes):
        raise UserError(
            f"dataset.source.{key} = {text!r}: expected a folder or one of {', '.join(suffixes)}."
        )
    return path


def _manifests(path: Path, source: str) -> list[Path]:
    return find_manifests(path, source) if path.is_dir() else [path]


def _read(source: Parameters, manifests: list[Path], images: Path | None) -> tuple[Path, Manifest]:
    """Return the folder of the images and what the manifest says about them."""
    is_file = Path(source.path).suffix.lower() in READERS
    inside = str(Path(source.path).parent) if is_file else source.path
    return read_manifest(manifests, images, source.columns, source.path, source.images or inside)


@contextlib.contextmanager
def _unpacked(path: Path, into: Path) -> Iterator[Path]:
    """Unpack an archive for a while, below `into`. Other paths are yielded unchanged."""
    if not is_archive(path):
        yield path
        return
    with tempfile.TemporaryDirectory(dir=into) as folder:
        unpack(path, Path(folder))
        yield Path(folder)


def _copy(manifest: Manifest, root: Path, into: Path) -> None:
    for row in manifest.rows:
        target = into / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / row["path"], target)
        row["path"] = f"images/{row['path']}"


def _pack(manifest: Manifest, root: Path, into: Path) -> None:
    with packed_archive(into / ARCHIVE) as add:
        for row in sorted(manifest.rows, key=lambda row: row["path"]):
            file = root / row["path"]
            row["path"] = add(row["path"], file.read_bytes())
            file.unlink()  # limits the disk space to one copy of the images
