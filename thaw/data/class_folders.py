"""A folder with a sub-folder for each class, directly or under train/, validation/, test/; and an
archive of one."""

import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

from thaw.data.archives import SUFFIXES, is_archive, unpack
from thaw.data.raw import ARCHIVE, packed_archive
from thaw.errors import UserError, bullet_list, printable
from thaw.storage.dvc import user_path

IMAGES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif",
    ".heic", ".heif",
)  # fmt: skip
"""What a picture is called. Pillow reads no HEIC: better a refusal than images left out unseen."""
SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


def locate(given: str) -> Path:
    """Return the path of the user's folder or archive, relative to the repository or absolute.

    Raises:
        UserError: there is nothing, or neither a folder nor an archive.
    """
    path = Path(given).expanduser()
    if not path.exists():
        path = user_path(given)
    if not path.exists():
        raise UserError(
            f"dataset.source.path = {given!r}: no such folder or archive. "
            f"Give a folder with a sub-folder for each class: -S dataset.source.path=PATH."
        )
    if not path.is_dir() and not is_archive(path):
        raise UserError(
            f"dataset.source.path = {given!r}: expected a folder or one of {', '.join(SUFFIXES)}."
        )
    return path


def list_files(folder: Path) -> list[str]:
    """Every file below `folder` that is not hidden, as sorted relative paths; links are followed,
    and each real folder is entered once.

    Raises:
        UserError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be listed: {error.strerror}. Make it readable.")

    found, entered = [], set()
    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(here)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        relative = Path(here).relative_to(folder)
        found += [(relative / n).as_posix() for n in names if not n.startswith((".", "._"))]
    return sorted(found)


def collect_folder(folder: Path, into: Path, said: str) -> list[dict]:
    """Copy a folder's images into `into`, and tell of each its path there, label and, where the
    folder has splits, its split.

    Args:
        said: what to call the folder in messages.

    Raises:
        UserError: there are no two classes with images in them, or folders that do not fit.
    """
    rows = read_layout(folder, False, said)
    for row in rows:
        target = into / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / row["path"], target)
        row["path"] = f"images/{row['path']}"
    return rows


def collect_archive(archive: Path, into: Path, said: str) -> list[dict]:
    """The same for an archive, whose images become one archive in `into`.

    Raises:
        UserError: as for a folder, or it cannot be unpacked.
    """
    with tempfile.TemporaryDirectory(dir=into) as folder:
        unpack(archive, Path(folder))
        rows = read_layout(Path(folder), True, said)
        with packed_archive(into / ARCHIVE) as add:
            for row in rows:
                file = Path(folder) / row["path"]
                row["path"] = add(row["path"], file.read_bytes())
                file.unlink()  # or the disk would hold everything twice
    return rows


def read_layout(folder: Path, wrapped: bool, said: str) -> list[dict]:
    """Each image's path in `folder`, label and split, as `layout` has them.

    Args:
        wrapped: an unpacked archive, in which one folder around everything is common.
        said: what to call the folder in messages.

    Raises:
        UserError: as `layout`, or a name is not UTF-8 or holds a carriage return.
    """
    found = list_files(folder)
    if strange := [f for f in found if f != f.encode(errors="replace").decode() or "\r" in f]:
        raise UserError(
            f"{len(strange)} files of {said} have names that are not UTF-8 or hold a carriage "
            f"return. Rename or remove them:\n{bullet_list([repr(file) for file in strange])}"
        )
    images = [file for file in found if file.lower().endswith(IMAGES)]
    rows = layout(images, _folders(folder), wrapped, said)
    if len(found) > len(images):
        pictures = set(images)
        others = [file for file in found if file not in pictures]
        some = printable(", ".join(others[:5]))
        print(f"{len(others)} files that are no images are left out: {some}")
    return rows


def layout(images: list[str], folders: list[str], wrapped: bool, said: str) -> list[dict]:
    """What each path says: its label, and its split or none.

    Args:
        images: relative paths of the images.
        folders: relative paths of all folders, so that an empty one is noticed.
        wrapped: an archive, in which one folder around everything is common.
        said: what to call the whole in messages.

    Raises:
        UserError: as `collect_folder`.
    """
    if not images:
        raise UserError(f"{said} holds no image. Expected are {', '.join(IMAGES)}.")
    prefix = _wrapper(images, wrapped)
    inner = {image: PurePosixPath(image).relative_to(prefix).parts for image in images}
    inside = [
        PurePosixPath(f).relative_to(prefix).parts
        for f in folders
        if PurePosixPath(f).is_relative_to(prefix) and PurePosixPath(f) != prefix
    ]
    top = {parts[0] for parts in inner.values()} | {parts[0] for parts in inside}
    made = {name for name in top if name.lower() in SPLITS}
    depth = 1 if made else 0
    if made and (strangers := sorted(top - made)):
        raise UserError(
            f"{said} mixes split folders ({', '.join(sorted(made))}) with others: expected "
            f"nothing else beside them (or, if they are classes, all classes under train/), and "
            f"found:\n{bullet_list(strangers)}"
        )
    if stray := [image for image, parts in inner.items() if len(parts) < depth + 2]:
        raise UserError(
            f"{len(stray)} images are in no class folder of {said}. Put each into a sub-folder "
            f"named as its class:\n{bullet_list(stray)}"
        )
    rows, classes = [], defaultdict(set)
    for image, parts in inner.items():
        split = SPLITS[parts[0].lower()] if made else ""
        classes[split].add(parts[depth])
        rows.append({"path": image, "label": parts[depth], "split": split})
    declared = {p[: depth + 1] for p in inside if len(p) > depth}
    full = {parts[: depth + 1] for parts in inner.values()}
    if empty := sorted("/".join(p) for p in declared - full):
        raise UserError(f"{len(empty)} classes of {said} have no image:\n{bullet_list(empty)}")
    if made and "train" not in classes:
        raise UserError(f"{said} has {', '.join(sorted(made))} but no train/ to learn from.")
    every = set().union(*classes.values())
    if len(every) < 2:
        raise UserError(
            f"{said} has one class, {', '.join(every)!r}: expected two or more sub-folders with "
            f"images."
        )
    lacking = [
        f"{split}/ lacks {', '.join(sorted(every - c))}"
        for split, c in classes.items()
        if every - c
    ]
    if lacking:
        raise UserError(f"{said}: every split needs every class:\n{bullet_list(lacking)}")
    return rows


def _wrapper(images: list[str], wrapped: bool) -> PurePosixPath:
    """The folder around everything: in an archive any, else one around train/ and the like."""
    prefix = PurePosixPath(".")
    paths = [PurePosixPath(image).parts for image in images]
    while len({parts[0] for parts in paths}) == 1 and all(len(parts) > 2 for parts in paths):
        name = paths[0][0]
        beneath = {parts[1].lower() for parts in paths}
        if name.lower() in SPLITS or not (wrapped or beneath & SPLITS.keys()):
            break
        prefix, paths = prefix / name, [parts[1:] for parts in paths]
    return prefix


def _folders(folder: Path) -> list[str]:
    found = [p.relative_to(folder) for p in folder.rglob("*") if p.is_dir()]
    return sorted(
        p.as_posix() for p in found if not any(s.startswith((".", "__MACOSX")) for s in p.parts)
    )
