"""Collect the images of a folder or an archive, and print one line on what was found."""

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from thaw.config.dataset import FolderSource
from thaw.data.archives import SUFFIXES, unpack
from thaw.data.folder_names import is_kind, normalized
from thaw.data.formats import READ
from thaw.data.layout import Image, Interpreter
from thaw.data.layout_questions import GUIDE, NoClassFolders, folder_list, override
from thaw.data.manifest.table import READERS
from thaw.data.raw import ARCHIVE, packed_archive
from thaw.data.tree import Tree, is_image, list_tree, selector
from thaw.errors import UserError, bullet_list, printable, see

THUMBNAILS = ("@eadir",)  # folders of leftovers that contain thumbnails


def collect_folder(
    folder: Path, into: Path, source: str, options: FolderSource
) -> list[dict[str, str]]:
    """Copy the images of a folder into `into`.

    Args:
        folder: The folder.
        into: data/raw.
        source: How messages name the folder.
        options: How to interpret it.

    Returns:
        For each image its `path` in `into`, `label`, `split` and `group`, "" where unknown.

    Raises:
        UserError: The layout of the folder is unknown or ambiguous.
    """
    rows = read_layout(folder, source, options)
    for row in rows:
        target = into / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / row["path"], target)
        row["path"] = f"images/{row['path']}"
    return rows


def collect_archive(
    archive: Path, into: Path, source: str, options: FolderSource
) -> list[dict[str, str]]:
    """Pack the images of an archive into one new archive in `into`.

    Args:
        archive: The archive.
        into: data/raw.
        source: How messages name the archive.
        options: How to interpret it.

    Returns:
        The same rows as `collect_folder`.

    Raises:
        UserError: The archive cannot be unpacked, or its layout is unknown or ambiguous.
    """
    with tempfile.TemporaryDirectory(dir=into) as folder:
        unpack(archive, Path(folder), options.zip_encoding)
        rows = read_layout(Path(folder), source, options)
        with packed_archive(into / ARCHIVE) as add:
            for row in rows:
                file = Path(folder) / row["path"]
                row["path"] = add(row["path"], file.read_bytes())
                file.unlink()  # limits the disk space to one copy of the images
    return rows


def read_layout(folder: Path, source: str, options: FolderSource) -> list[dict[str, str]]:
    """Interpret a folder and print one line on what was found.

    Args:
        folder: A folder, or an unpacked archive.
        source: How messages name it.
        options: How to interpret it.

    Returns:
        The `path` in `folder`, `label`, `split` and `group` of each image, "" where unknown.

    Raises:
        UserError: The layout is unknown or ambiguous, or a name is not UTF-8 or contains a carriage
            return.
    """
    tree = list_tree(folder)
    _reject_names(tree.files, source)
    selected = selector(options)
    files = [file for file in tree.files if selected(file)]
    images = [file for file in files if is_image(file)]
    if not images:
        raise _no_images(tree, files, source, options)
    interpreter = Interpreter(options, source)
    try:
        rows = interpreter.read(images)
    except NoClassFolders as error:
        raise _with_tables(error, files, source) from None
    folders = [each for each in tree.folders if selected(each)]
    ignored = _folders_without_images(folders, files, images)
    _reject_empty_classes(ignored, files, rows, interpreter, source)
    left_out = sum(is_image(file) for file in tree.files) - len(images)
    place = f"{source}, {interpreter.root}/" if interpreter.root else source
    print(printable(f"{place}: {_summary(rows, interpreter)}"), end="")
    print(printable(_ignored(tree, files, ignored, left_out)))
    return [vars(row) for row in rows]


def _with_tables(error: NoClassFolders, files: list[str], source: str) -> UserError:
    """Return the error, with the override that reads the labels from a table in the folder."""
    tables = [file for file in files if PurePosixPath(file).suffix.lower() in READERS]
    if not tables or source.lower().endswith(SUFFIXES):
        return error
    table = min(tables, key=lambda file: (file.count("/"), file))
    choice = override(f"dataset.source.path={source}/{table}")
    return UserError(f"{error}\nIf {table} has the labels: -S dataset=manifest -S {choice}")


def _summary(rows: list[Image], interpreter: Interpreter) -> str:
    labels = {row.label for row in rows} - {""}
    splits = [f"{name}/" for name in interpreter.split_folders]
    last = splits[-1:] if len(splits) < 2 else [f"{splits[-2]} and {splits[-1]}"]
    found = [", ".join(splits[:-2] + last)] if splits else []
    found += [f"{len(labels):,} classes", f"{len(rows):,} images"]
    return "; ".join([", ".join(found), *interpreter.notes])


def _ignored(tree: Tree, files: list[str], folders: list[str], left_out: int) -> str:
    parts = [
        f"{count:,} {'thumbnails' if name.lower() in THUMBNAILS else 'images'} in {name}"
        for name, count in tree.ignored.items()
    ]
    if left_out:
        parts.append(f"{left_out:,} images by root, include or exclude")
    if folders:
        parts.append(f"{folder_list(folders)} without images")
    within = tuple(f"{folder}/" for folder in folders)
    others = [file for file in files if not is_image(file) and not file.startswith(within)]
    if others:
        more = ", ..." if len(others) > 3 else ""
        parts.append(f"{len(others):,} files that are no images ({', '.join(others[:3])}{more})")
    return f"; ignored: {', '.join(parts)}" if parts else ""


def _folders_without_images(folders: list[str], files: list[str], images: list[str]) -> list[str]:
    """Return the folders without an image in or below them, but not those within another one."""
    full = {str(parent) for image in images for parent in PurePosixPath(image).parents}
    without = [folder for folder in folders if folder not in full]
    return [folder for folder in without if str(PurePosixPath(folder).parent) in full]


def _reject_names(files: list[str], source: str) -> None:
    if bad := [f for f in files if f != f.encode(errors="replace").decode() or "\r" in f]:
        raise UserError(
            f"{len(bad)} files of {source} have names that are not UTF-8 or contain a carriage "
            f"return. Rename or remove them, or set dataset.source.zip_encoding for an archive:\n"
            f"{bullet_list([repr(file) for file in bad])}\n{see(GUIDE, 'archives')}"
        )


def _reject_empty_classes(
    folders: list[str], files: list[str], rows: list[Image], interpreter: Interpreter, source: str
) -> None:
    labels = {row.label for row in rows}
    empty = [
        folder
        for folder in folders
        if str(PurePosixPath(folder).parent).removeprefix(".") in interpreter.class_parents
        and (name := normalized(PurePosixPath(folder).name)) not in labels
        and not is_kind(name)
        and not any(file.startswith(f"{folder}/") for file in files)
    ]
    if empty:
        raise UserError(
            f"{len(empty)} classes of {source} have no images. Remove their folders, or leave them "
            f"out with dataset.source.exclude:\n{bullet_list(empty)}\n{see(GUIDE, 'layouts')}"
        )


def _no_images(tree: Tree, files: list[str], source: str, options: FolderSource) -> UserError:
    if any(is_image(file) for file in tree.files):
        chosen = {
            name: value
            for name in ("root", "include", "exclude")
            if (value := getattr(options, name))
        }
        shown = ", ".join(f"dataset.source.{name} = {value!r}" for name, value in chosen.items())
        return UserError(
            f"{shown}: leaves no image of {source}. Expected a folder or patterns such as:\n"
            f"{bullet_list(tree.folders, 10)}\n{see(GUIDE, 'choosing-files')}"
        )
    archives = [file for file in files if file.lower().endswith(SUFFIXES)]
    advice = f" Unpack the archives in it first:\n{bullet_list(archives)}" if archives else ""
    return UserError(
        f"{source} contains no images. Expected files that end in {', '.join(READ)}.{advice}"
    )
