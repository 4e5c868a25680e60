"""The user's images, listed with their labels in a CSV, TSV, JSON Lines or Parquet file."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from thaw.config.dataset import Source
from thaw.data.archives import SUFFIXES, is_archive, unpack
from thaw.data.inventory import SourceNotHere
from thaw.data.manifest.columns import Columns
from thaw.data.manifest.reading import candidate_manifests, find_manifests, read_manifest
from thaw.data.manifest.rows import Manifest
from thaw.data.manifest.table import READERS
from thaw.data.raw import ARCHIVE, packed_archive
from thaw.data.remote import (
    RemoteFolder,
    check_keep_raw,
    download_file,
    is_remote_archive,
    remote_file,
)
from thaw.data.tree import is_image, list_files, locate
from thaw.storage.addresses import Unreachable, is_remote
from thaw.storage.remote import RemoteFile, file_name

FILES = (*SUFFIXES, *READERS)  # what `path` may be besides a folder
SCANNED = True  # dvc.yaml has a stage that detects changed files


class Parameters(Source):
    """`dataset.source` of kind manifest."""

    kind: Literal["manifest"]
    """The kind of source."""
    path: str
    """A .csv, .tsv, .jsonl or .parquet file, or a folder or archive that contains one: a path
    relative to the repository or absolute, or an address such as s3://bucket/labels.csv."""
    images: str | None = None
    """Folder or archive that the paths in the manifest start from, or its address; null: the
    manifest's folder."""
    columns: Columns = Columns()
    """Which column has what."""
    keep_raw: bool = True
    """Copy the images to data/raw. False decodes them while they are downloaded, and keeps no
    files; it needs the address of a folder of images."""

    @model_validator(mode="after")
    def _check_keep_raw(self) -> Self:
        check_keep_raw(self.keep_raw, self.images or self.path)
        return self


def files(source: Parameters) -> dict[str, Path | RemoteFile]:
    """Return the files that `collect` reads, by the names that the inventory gives them.

    Where the images are at an address, these are all images there.

    Raises:
        SourceNotHere: The manifest or its images do not exist on this machine, or do not answer.
        UserError: The manifest cannot be used.
    """
    if is_remote(source.path) or is_remote(source.images or ""):
        return _remote_files(source)
    return dict(_local_files(source))


def _local_files(source: Parameters) -> dict[str, Path]:
    path = locate(source.path, "path", FILES)
    here = {path.name: path} if path.is_file() else {}
    try:
        images = locate(source.images, "images") if source.images else None
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


def _remote_files(source: Parameters) -> dict[str, Path | RemoteFile]:
    """Return the manifest and all images that it may name."""
    here: dict[str, Path] = {}
    there: dict[str, RemoteFile] = {}
    try:
        for key, text in (("path", source.path), ("images", source.images or "")):
            inside = "images/" if key == "images" else ""
            if not text:
                continue
            if not is_remote(text):
                here |= {inside + name: file for name, file in _list_local(key, text).items()}
            elif is_remote_archive(text):
                there |= remote_file(text)
            elif key == "path" and _is_manifest(text):
                there |= remote_file(text)
                if not source.images:
                    images = RemoteFolder(text.rpartition("/")[0]).visible()
                    there |= {f"images/{n}": file for n, file in images.items() if is_image(n)}
            else:
                there |= {
                    inside + name: file
                    for name, file in RemoteFolder(text).visible().items()
                    if is_image(name) or (key == "path" and _is_manifest(name))
                }
    except Unreachable as error:
        raise SourceNotHere(str(error), here) from error
    return {**here, **there}


def _list_local(key: str, text: str) -> dict[str, Path]:
    path = locate(text, key, FILES if key == "path" else SUFFIXES)
    if path.is_file():
        return {path.name: path}
    if key == "path":
        return {file.relative_to(path).as_posix(): file for file in _manifests(path, text)}
    return {name: path / name for name in list_files(path) if is_image(name)}


def collect(source: Parameters, into: Path) -> list[dict[str, str]]:
    """Copy the images that the manifest names into `into`.

    Returns:
        For each image its `path` in `into`, `label` ("" for unlabelled), `split`, `group`,
        `confidence` ("" for none), and the further columns of the manifest.

    Raises:
        UserError: The manifest or an image does not exist, or the manifest is ambiguous or
            contradictory.
    """
    images = source.images or source.path
    with opened(source, into) as (root, manifest, outlines):
        outline = next((path for path in outlines if root.is_relative_to(path)), None)
        if outline is not None:
            inside = root.relative_to(outline).as_posix()
            outlines[outline].collect(manifest.rows, into, source.keep_raw, inside)
        elif is_remote_archive(images) or is_archive(Path(images)):
            _pack(manifest, root, into)
        else:
            _copy(manifest, root, into)
    print("\n".join(manifest.notes))
    return manifest.rows


@contextlib.contextmanager
def opened(
    source: Parameters, scratch: Path
) -> Iterator[tuple[Path, Manifest, dict[Path, RemoteFolder]]]:
    """Read a manifest, and unpack archives below `scratch` for the while.

    Yields:
        The folder that the paths in the manifest start from, the images, and for each folder with
        the empty files of an address the objects there.

    Raises:
        UserError: As for `collect`.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        outlines: dict[Path, RemoteFolder] = {}

        def local(key: str, text: str, files: tuple[str, ...]) -> Path:
            if is_remote(text):
                path = _fetch(source, key, folder / key, outlines)
            else:
                path = locate(text, key, files)
            return stack.enter_context(_unpacked(path, scratch))

        path = local("path", source.path, FILES)
        images = local("images", source.images, SUFFIXES) if source.images else None
        root, manifest = _read(source, _manifests(path, source.path), images)
        yield root, manifest, outlines


def _fetch(source: Parameters, key: str, folder: Path, outlines: dict[Path, RemoteFolder]) -> Path:
    """Return a local copy of an archive, or of a folder in which only manifests have content.

    Args:
        source: The parameters.
        key: `path` or `images`, the parameter with the address.
        folder: A folder to create.
        outlines: Gets the folder if its other files are empty.
    """
    address, scratch = getattr(source, key), folder.parent
    if is_remote_archive(address):
        return download_file(address, scratch)
    is_file = key == "path" and _is_manifest(address)
    folder.mkdir()
    if not is_file or not source.images:
        outlines[folder] = RemoteFolder(address.rpartition("/")[0] if is_file else address)
        outlines[folder].outline(folder)
    if is_file:
        shutil.copyfile(download_file(address, scratch), folder / file_name(address))
        return folder / file_name(address)
    if key == "path":
        names = candidate_manifests(folder)
        for name, file in zip(names, outlines[folder].download(names, scratch), strict=True):
            shutil.copyfile(file, folder / name)
    return folder


def _is_manifest(name: str) -> bool:
    return name.lower().endswith(tuple(READERS))


def _manifests(path: Path, source: str) -> list[Path]:
    return find_manifests(path, source) if path.is_dir() else [path]


def _read(source: Parameters, manifests: list[Path], images: Path | None) -> tuple[Path, Manifest]:
    """Return the folder of the images and what the manifest says about them."""
    is_file = Path(source.path).suffix.lower() in READERS
    inside = source.path
    if is_file:
        remote = is_remote(source.path)
        inside = source.path.rpartition("/")[0] if remote else str(Path(source.path).parent)
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
