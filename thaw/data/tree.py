"""List the files of a folder of images, without the leftovers of systems and applications."""

import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from thaw.config.dataset import FolderSource
from thaw.data.archives import SUFFIXES
from thaw.data.formats import IMAGES
from thaw.data.inventory import SourceNotHere
from thaw.errors import UserError
from thaw.storage.dvc import user_path

# What operating systems, network storage and tools leave in folders, in lower case
LEFTOVERS = {
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin",
    "recycler", "recycled", "system volume information", "lost+found", "found.000", "__macosx",
    "network trash folder", "temporary items", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db",
    "desktop.ini", "picasa.ini", "icon\r", "__pycache__", "~snapshot",
}  # fmt: skip


@dataclass
class Tree:
    """The files and folders below a folder.

    Attributes:
        files: Relative paths of all files except leftovers, sorted.
        folders: Relative paths of all folders except leftovers, sorted.
        ignored: For each kind of leftover, such as `@eaDir`, the number of images in it.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass
class Folder:
    """A folder with images in it or below it.

    Attributes:
        path: Relative to the source; "" for the source itself.
        images: Paths of the images directly in it, relative to the source.
        folders: The sub-folders with images, by name.
    """

    path: str
    images: list[str] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    @classmethod
    def of(cls, images: list[str]) -> "Folder":
        """Return the tree of these paths."""
        top = cls("")
        for image in images:
            folder = top
            for name in PurePosixPath(image).parts[:-1]:
                path = f"{folder.path}/{name}" if folder.path else name
                folder = folder.folders.setdefault(name, cls(path))
            folder.images.append(image)
        return top

    def below(self) -> Iterator[tuple[str, "Folder"]]:
        """Yield the name of each folder below it and the folder, at any depth."""
        waiting = list(self.folders.items())
        while waiting:
            name, folder = waiting.pop()
            yield name, folder
            waiting += folder.folders.items()

    def walk(self) -> Iterator[str]:
        """Yield the paths of all images in it and below it."""
        yield from self.images
        for _, folder in self.below():
            yield from folder.images

    def names_below(self) -> Iterator[str]:
        """Yield the names of all folders below it."""
        return (name for name, _ in self.below())

    def without_wrappers(self, names: Container[str]) -> "Folder":
        """Return the first folder below single sub-folders with one of these lower-case names."""
        folder = self
        while not folder.images and len(folder.folders) == 1:
            ((name, inner),) = folder.folders.items()
            if name.lower() not in names:
                break
            folder = inner
        return folder


def locate(text: str, key: str = "path", suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Return the path of the user's folder or file.

    Args:
        text: The value of the parameter: absolute, or relative to the repository.
        key: The parameter of `dataset.source`.
        suffixes: Of the files that are accepted instead of a folder.

    Raises:
        SourceNotHere: The path does not exist.
        UserError: It is neither a folder nor a file with one of the suffixes.
    """
    path = Path(text).expanduser()
    if not path.exists():
        path = user_path(text)
    if not path.exists():
        raise SourceNotHere(
            f"dataset.source.{key} = {text!r}: no such file or folder. "
            f"Set it with -S dataset.source.{key}=PATH."
        )
    if not path.is_dir() and not (path.is_file() and path.name.lower().endswith(suffixes)):
        raise UserError(
            f"dataset.source.{key} = {text!r}: expected a folder or one of {', '.join(suffixes)}."
        )
    return path


def is_leftover(name: str) -> bool:
    """Return whether a file or folder is hidden, or left by a system, a NAS or a tool."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def is_image(path: str) -> bool:
    """Return whether a path ends in the suffix of an image format, in any case."""
    return path.lower().endswith(IMAGES)


def list_files(folder: Path) -> list[str]:
    """Return the relative paths of all files below `folder` that are not leftovers, sorted.

    Symbolic links are followed, except those to a folder around them.

    Raises:
        UserError: A folder cannot be listed.
    """
    return list_tree(folder, count_ignored=False).files


def list_tree(folder: Path, count_ignored: bool = True) -> Tree:
    """Return the files and folders below `folder`.

    Args:
        folder: Where to start.
        count_ignored: Count the images in leftovers too, which takes longer.

    Raises:
        UserError: A folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be listed: {error.strerror}. Make it readable.")

    tree = Tree()
    reals: dict[str, tuple[str, ...]] = {}  # for each folder its real path and those above
    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        relative = Path(here).relative_to(folder)
        real = os.path.realpath(here)
        above = reals.get(os.path.dirname(here), ())
        if any(each == real or each.startswith(real + os.sep) for each in above):  # a cycle
            folders.clear()
            continue
        reals[here] = (*above, real)
        if relative != Path("."):
            tree.folders.append(relative.as_posix())
        for name in names:
            if not is_leftover(name):
                tree.files.append((relative / name).as_posix())
            elif count_ignored and is_image(name):
                tree.ignored["hidden files"] += 1
        if count_ignored:
            for name in filter(is_leftover, folders):
                if count := _count_images(Path(here, name)):
                    tree.ignored[name] += count
        folders[:] = sorted(name for name in folders if not is_leftover(name))
    tree.files.sort()
    tree.folders.sort()
    return tree


def _count_images(folder: Path) -> int:
    return sum(is_image(name) for _, _, names in os.walk(folder) for name in names)


def selector(source: FolderSource) -> Callable[[str], bool]:
    """Return a function that says whether a relative path is inside `root` and the patterns.

    Args:
        source: Its `root`, `include` and `exclude` decide.
    """
    root = "" if source.root in (None, ".") else f"{PurePosixPath(str(source.root))}/"
    include = [glob_expression(pattern) for pattern in source.include]
    exclude = [glob_expression(pattern) for pattern in source.exclude]

    def selected(path: str) -> bool:
        return (
            path.startswith(root)
            and (not include or any(each.match(path) for each in include))
            and not any(each.match(path) for each in exclude)
        )

    return selected


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a glob pattern, with the rules of .gitignore.

    A pattern matches a file or a folder with all its content. Without a slash it matches a name at
    any depth, otherwise a path from the top. `*` stands for any characters except a slash, `**`
    for any folders, `?` for one character, `[ab]` for one of these.
    """
    pattern = pattern.removeprefix("./").rstrip("/")
    anchored = "/" in pattern
    parts = re.findall(r"\*\*/?|\*|\?|\[!?[^\]]+\]|.", pattern.lstrip("/"), re.DOTALL)
    translated = []
    for part in parts:
        if part == "**/":
            translated.append("(?:.*/)?")
        elif part == "**":
            translated.append(".*")
        elif part == "*":
            translated.append("[^/]*")
        elif part == "?":
            translated.append("[^/]")
        elif part[0] == "[" and len(part) > 1:
            negated = part[1] == "!"
            inner = part[2 if negated else 1 : -1].replace("\\", "\\\\").replace("^", r"\^")
            translated.append(f"[{'^' if negated else ''}{inner}]")
        else:
            translated.append(re.escape(part))
    start = "" if anchored else "(?:.*/)?"
    return re.compile(f"{start}{''.join(translated)}(?:/.*)?$", re.DOTALL)
