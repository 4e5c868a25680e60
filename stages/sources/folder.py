"""The user's own images: a folder or an archive with a sub-folder for each class."""

import os
import shutil
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Literal

from stages.command import Refusal, naming
from stages.params.dataset import Source
from stages.sources.archive import SUFFIXES, is_archive, unpack

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}


class Parameters(Source):
    kind: Literal["folder"]
    path: str
    """A directory, .zip, .tar or .tar.gz; relative to the repository, or absolute."""


def find(source: Parameters) -> Path:
    """The source's path.

    Raises:
        Refusal: there is nothing, or neither a folder nor an archive.
    """
    path = Path(source.path).expanduser()
    if not path.exists():
        raise Refusal(
            f"dataset.source.path = {source.path!r}: no such folder or archive. "
            f"Give a folder with a sub-folder for each class: -S dataset.source.path=PATH."
        )
    if not path.is_dir() and not is_archive(path):
        raise Refusal(
            f"dataset.source.path = {source.path!r}: expected a folder or one of "
            f"{', '.join(SUFFIXES)}."
        )
    return path


def files(folder: Path) -> list[str]:
    """Every file below `folder` that is not hidden, as sorted relative paths; links are followed,
    and each real folder is entered once."""
    found, entered = [], set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        relative = Path(here).relative_to(folder)
        found += [(relative / n).as_posix() for n in names if not n.startswith((".", "._"))]
    return sorted(found)


def collect(source: Parameters, into: Path) -> list[dict]:
    """Copy the images into `into`, and tell of each its path there, label and, where the user
    made splits, its split.

    Raises:
        Refusal: there are no two classes with images in them, or folders that do not fit.
    """
    path = find(source)
    if path.is_dir():
        folder = path
    else:
        folder = into / "unpacked"
        folder.mkdir()
        unpack(path, folder)
    found = files(folder)
    images = [file for file in found if file.lower().endswith(IMAGES)]
    rows = layout(images, _folders(folder), wrapped=folder != path, given=source.path)
    for row in rows:
        target = into / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        if folder == path:
            shutil.copyfile(folder / row["path"], target)
        else:
            os.replace(folder / row["path"], target)
        row["path"] = f"images/{row['path']}"
    if folder != path:
        shutil.rmtree(folder)
    if len(found) > len(images):
        others = [file for file in found if file not in set(images)]
        print(f"{len(others)} files that are no images are left out: {', '.join(others[:5])}")
    return rows


def layout(images: list[str], folders: list[str], wrapped: bool, given: str) -> list[dict]:
    """What each path says: its label, and its split or none.

    Args:
        images: relative paths of the images.
        folders: relative paths of all folders, so that an empty one is noticed.
        wrapped: an archive, in which one folder around everything is common.
        given: the user's path, for messages.

    Raises:
        Refusal: as `collect`.
    """
    if not images:
        raise Refusal(f"{given} holds no image. Expected are {', '.join(IMAGES)}.")
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
        raise Refusal(
            f"{given} mixes split folders ({', '.join(sorted(made))}) with others: expected "
            f"nothing else beside them, and found:\n{naming(strangers)}"
        )
    if stray := [image for image, parts in inner.items() if len(parts) < depth + 2]:
        raise Refusal(
            f"{len(stray)} images are in no class folder of {given}. Put each into a sub-folder "
            f"named as its class:\n{naming(stray)}"
        )
    rows, classes = [], defaultdict(set)
    for image, parts in inner.items():
        split = SPLITS[parts[0].lower()] if made else ""
        classes[split].add(parts[depth])
        rows.append({"path": image, "label": parts[depth], "split": split})
    declared = {p[: depth + 1] for p in inside if len(p) > depth}
    full = {parts[: depth + 1] for parts in inner.values()}
    if empty := sorted("/".join(p) for p in declared - full):
        raise Refusal(f"{len(empty)} classes of {given} have no image:\n{naming(empty)}")
    if made and "train" not in classes:
        raise Refusal(f"{given} has {', '.join(sorted(made))} but no train/ to learn from.")
    every = set().union(*classes.values())
    if len(every) < 2:
        raise Refusal(
            f"{given} has one class, {', '.join(every)!r}: expected two or more sub-folders with "
            f"images."
        )
    lacking = [
        f"{split}/ lacks {', '.join(sorted(every - c))}"
        for split, c in classes.items()
        if every - c
    ]
    if lacking:
        raise Refusal(f"{given}: every split needs every class:\n{naming(lacking)}")
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
