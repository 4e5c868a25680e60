"""Read datasets laid out in class folders, from a folder or an archive.

Each class is a folder. The class folders lie side by side, or in each of train/, validation/ and
test/.
"""

import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

from thaw.data.archives import SUFFIXES, is_archive, unpack
from thaw.data.formats import IMAGES, READ
from thaw.data.raw import ARCHIVE, packed_archive
from thaw.errors import UserError, bullet_list, printable
from thaw.storage.dvc import user_path

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


def locate(source: str) -> Path:
    """Return the path of the user's folder or archive.

    Args:
        source: `dataset.source.path`: absolute, or relative to the repository.

    Raises:
        UserError: The path does not exist, or is neither a folder nor an archive.
    """
    path = Path(source).expanduser()
    if not path.exists():
        path = user_path(source)
    if not path.exists():
        raise UserError(
            f"dataset.source.path = {source!r}: no such folder or archive. "
            f"Give a folder with a sub-folder for each class: -S dataset.source.path=PATH."
        )
    if not path.is_dir() and not is_archive(path):
        raise UserError(
            f"dataset.source.path = {source!r}: expected a folder or one of {', '.join(SUFFIXES)}."
        )
    return path


def list_files(folder: Path) -> list[str]:
    """Return the relative paths of all files below `folder` that are not hidden, sorted.

    Symbolic links are followed, and each real folder is entered once.

    Raises:
        UserError: A folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be listed: {error.strerror}. Make it readable.")

    files, entered = [], set()
    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(here)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        relative = Path(here).relative_to(folder)
        files += [(relative / n).as_posix() for n in names if not n.startswith((".", "._"))]
    return sorted(files)


def collect_folder(folder: Path, into: Path, source: str) -> list[dict[str, str]]:
    """Copy the images of a folder into `into`.

    Args:
        source: How messages name the folder.

    Returns:
        For each image its `path` in `into`, `label`, and `split` ("" if the folder has none).

    Raises:
        UserError: The folder is not laid out in class folders.
    """
    rows = read_layout(folder, False, source)
    for row in rows:
        target = into / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / row["path"], target)
        row["path"] = f"images/{row['path']}"
    return rows


def collect_archive(archive: Path, into: Path, source: str) -> list[dict[str, str]]:
    """Pack the images of an archive into one new archive in `into`.

    Args:
        source: How messages name the archive.

    Returns:
        The same rows as `collect_folder`.

    Raises:
        UserError: The archive cannot be unpacked or is not laid out in class folders.
    """
    with tempfile.TemporaryDirectory(dir=into) as folder:
        unpack(archive, Path(folder))
        rows = read_layout(Path(folder), True, source)
        with packed_archive(into / ARCHIVE) as add:
            for row in rows:
                file = Path(folder) / row["path"]
                row["path"] = add(row["path"], file.read_bytes())
                file.unlink()  # limits the disk space to one copy of the images
    return rows


def read_layout(folder: Path, wrapped: bool, source: str) -> list[dict[str, str]]:
    """Return the path in `folder`, label and split of each image.

    Args:
        wrapped: Whether `folder` is an unpacked archive, where one outer folder is common.
        source: How messages name the folder.

    Raises:
        UserError: The folder is not laid out in class folders, or a name is not UTF-8 or contains
            a carriage return.
    """
    files = list_files(folder)
    if bad := [f for f in files if f != f.encode(errors="replace").decode() or "\r" in f]:
        raise UserError(
            f"{len(bad)} files of {source} have names that are not UTF-8 or contain a carriage "
            f"return. Rename or remove them:\n{bullet_list([repr(file) for file in bad])}"
        )
    images = [file for file in files if file.lower().endswith(IMAGES)]
    rows = layout(images, _folders(folder), wrapped, source)
    if len(files) > len(images):
        distinct = set(images)
        others = [file for file in files if file not in distinct]
        print(f"Skipped {len(others)} files that are no images: {printable(', '.join(others[:5]))}")
    return rows


def layout(
    images: list[str], folders: list[str], wrapped: bool, source: str
) -> list[dict[str, str]]:
    """Return the path, label and split ("" for none) that each path implies.

    Args:
        images: Relative paths of the images.
        folders: Relative paths of all folders, to detect empty classes.
        wrapped: Whether the paths are those of an archive, where one outer folder is common.
        source: How messages name the folder or archive.

    Raises:
        UserError: There are fewer than two classes, an image is in no class folder, a class is
            empty or missing in a split, or split folders are mixed with others.
    """
    if not images:
        raise UserError(
            f"{source} contains no images. Expected files that end in {', '.join(READ)}."
        )
    prefix = _outer_folder(images, wrapped)
    inner = {image: PurePosixPath(image).relative_to(prefix).parts for image in images}
    inside = [
        PurePosixPath(f).relative_to(prefix).parts
        for f in folders
        if PurePosixPath(f).is_relative_to(prefix) and PurePosixPath(f) != prefix
    ]
    top = {parts[0] for parts in inner.values()} | {parts[0] for parts in inside}
    split_folders = {name for name in top if name.lower() in SPLITS}
    depth = 1 if split_folders else 0
    if split_folders and (others := sorted(top - split_folders)):
        raise UserError(
            f"{source} mixes split folders ({', '.join(sorted(split_folders))}) with others. Move "
            f"these elsewhere (or, if all are classes, move all of them into train/):\n"
            f"{bullet_list(others)}"
        )
    if stray := [image for image, parts in inner.items() if len(parts) < depth + 2]:
        raise UserError(
            f"{len(stray)} images are in no class folder of {source}. Move each into a sub-folder "
            f"named after its class:\n{bullet_list(stray)}"
        )
    rows, classes = [], defaultdict(set)
    for image, parts in inner.items():
        split = SPLITS[parts[0].lower()] if split_folders else ""
        classes[split].add(parts[depth])
        rows.append({"path": image, "label": parts[depth], "split": split})
    class_folders = {p[: depth + 1] for p in inside if len(p) > depth}
    nonempty = {parts[: depth + 1] for parts in inner.values()}
    if empty := sorted("/".join(p) for p in class_folders - nonempty):
        raise UserError(f"{len(empty)} classes of {source} have no images:\n{bullet_list(empty)}")
    if split_folders and "train" not in classes:
        raise UserError(
            f"{source} has {', '.join(sorted(split_folders))} but no train/ to train on."
        )
    labels: set[str] = set().union(*classes.values())
    if len(labels) < 2:
        raise UserError(
            f"{source} has one class, {', '.join(labels)!r}. Expected two or more sub-folders with "
            f"images."
        )
    missing = [
        f"{split}/ lacks {', '.join(sorted(labels - present))}"
        for split, present in classes.items()
        if labels - present
    ]
    if missing:
        raise UserError(f"{source}: every split must contain every class:\n{bullet_list(missing)}")
    return rows


def _outer_folder(images: list[str], wrapped: bool) -> PurePosixPath:
    """Return the folder that contains the dataset.

    In an archive any common outer folder counts. Elsewhere only one that contains split folders.
    """
    prefix = PurePosixPath(".")
    paths = [PurePosixPath(image).parts for image in images]
    while len({parts[0] for parts in paths}) == 1 and all(len(parts) > 2 for parts in paths):
        name = paths[0][0]
        children = {parts[1].lower() for parts in paths}
        if name.lower() in SPLITS or not (wrapped or children & SPLITS.keys()):
            break
        prefix, paths = prefix / name, [parts[1:] for parts in paths]
    return prefix


def _folders(folder: Path) -> list[str]:
    folders = [p.relative_to(folder) for p in folder.rglob("*") if p.is_dir()]
    return sorted(
        p.as_posix() for p in folders if not any(s.startswith((".", "__MACOSX")) for s in p.parts)
    )
