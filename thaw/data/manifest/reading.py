"""Read a manifest: the file, label and split of each image, checked against the files."""

import os
import posixpath
from pathlib import Path

from thaw.data.manifest.columns import Columns, find_columns, split_of
from thaw.data.manifest.matching import ImageFolder
from thaw.data.manifest.rows import Manifest, resolve
from thaw.data.manifest.table import READERS, Table, read_manifest_file
from thaw.data.tree import list_files
from thaw.errors import UserError, bullet_list


def candidate_manifests(folder: Path) -> list[str]:
    """Return the files that may be manifests, by their suffix, where they lie least deep."""
    files = [f for f in list_files(folder) if f.lower().endswith(tuple(READERS))]
    depth = min((file.count("/") for file in files), default=0)
    return [file for file in files if file.count("/") == depth]


def find_manifests(folder: Path, source: str) -> list[Path]:
    """Return the manifest in a folder, or those with one name in its split folders.

    Args:
        folder: The folder. Only the files that lie least deep count.
        source: How messages name it.

    Raises:
        UserError: There is none, or there are several.
    """
    found = candidate_manifests(folder)
    parents = [posixpath.dirname(file) for file in found]
    splits = {split_of(posixpath.basename(parent)) for parent in parents}
    names = {posixpath.basename(file) for file in found}
    outer = {posixpath.dirname(parent) for parent in parents}
    in_splits = None not in splits and len(splits) == len(found) and len(names) == len(outer) == 1
    if not found:
        raise UserError(
            f"{source} contains no manifest. Expected a file that ends in {', '.join(READERS)}."
        )
    if len(found) > 1 and not in_splits:
        raise UserError(
            f"{source} contains {len(found)} files that may be the manifest. Choose one with "
            f"-S dataset.source.path={source}/FILE:\n{bullet_list(found)}"
        )
    return [folder / file for file in found]


def read_manifest(
    files: list[Path], images: Path | None, columns: Columns, source: str, images_name: str
) -> tuple[Path, Manifest]:
    """Return the images that a manifest names.

    Args:
        files: One manifest, or one in each split folder.
        images: The folder that the paths start from; None: that of the manifest.
        columns: Which column has what.
        source: How messages name the manifest.
        images_name: How messages name the folder that the paths start from.

    Returns:
        The folder that the paths start from, and the images.

    Raises:
        SourceNotHere: None of the images exists.
        UserError: The manifest cannot be read, or is ambiguous or contradictory.
    """
    root = images or Path(os.path.commonpath([file.parent for file in files]))
    table, splits = _combine(files, root, source)
    folder = ImageFolder(root, images_name)
    roles = find_columns(table, columns, folder)
    return root, resolve(table, roles, splits if not roles.split else [], folder)


def _combine(files: list[Path], root: Path, source: str) -> tuple[Table, list[str]]:
    """Return the rows of all manifests, and for each row the split that its folder names."""
    name = files[0].name if len(files) == 1 else f"{source} ({len(files)} manifests)"
    if len(files) == 1:
        return read_manifest_file(files[0], name), []
    tables = [read_manifest_file(f, f"{f.parent.name}/{f.name}") for f in files]
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    combined, splits = Table(name, columns, [], []), []
    for file, table in zip(files, tables, strict=True):
        inside = file.parent.is_relative_to(root) and file.parent != root
        prefix = file.parent.relative_to(root).as_posix() + "/" if inside else ""
        positions = {column: position for position, column in enumerate(table.columns)}
        for row, place in zip(table.rows, table.places, strict=True):
            combined.rows.append([row[positions[c]] if c in positions else "" for c in columns])
            combined.places.append(f"{table.name}, {place}")
            combined.prefixes.append(prefix)
            splits.append(split_of(file.parent.name) or "")
        combined.notes += table.notes
    return combined, splits
