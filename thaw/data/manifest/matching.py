"""Find the image files that a manifest names."""

import os
import posixpath
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from thaw.data.tree import is_image, list_files

OUTPUTS = ("data/raw", "data/images", "models", "report", "results")  # beside dvc.yaml


@dataclass
class Matches:
    """The files that the cells of a column name.

    Attributes:
        files: For each cell the files that it may mean: none, one, or several.
        exact: Whether a cell names a file with its extension.
        below: Whether the names are those of files in sub-folders.
    """

    files: list[list[str]]
    exact: bool
    below: bool

    def any(self) -> bool:
        """Return whether at least one cell names a file."""
        return any(self.files)


class ImageFolder:
    """The files below the folder that the paths of a manifest start from.

    Args:
        folder: The folder.
        name: How messages name it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.files = _without_outputs(list_files(folder))
        self._known = set(self.files)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for file in self.images():
            self._stems[os.path.splitext(file)[0]].append(file)
        self._tails: dict[str, list[str]] | None = None

    def images(self) -> list[str]:
        """Return the files whose suffix is that of an image."""
        return [file for file in self.files if is_image(file)]

    def match(self, names: list[str]) -> Matches:
        """Return the files that each name means.

        A name is a path from the folder, with or without extension. If no name is one, names are
        searched in all sub-folders.
        """
        paths = [self._relative(name) for name in names]
        found = [self._direct(path) for path in paths]
        below = not any(found)
        if below:
            found = [self._below(path) for path in paths]
        exact = any(
            file == path or file.endswith(f"/{path}")
            for path, files in zip(paths, found, strict=True)
            for file in files
        )
        return Matches(found, exact, below and any(found))

    def similar(self, name: str) -> str:
        """Return " Did you mean FILE?" for a file with the same name in another case or place."""
        stem = os.path.splitext(PurePosixPath(name.replace("\\", "/")).name)[0].lower()
        if not stem:
            return ""
        for file in self.images():
            if os.path.splitext(posixpath.basename(file))[0].lower() == stem:
                return f" Did you mean {file}?"
        return ""

    def _relative(self, name: str) -> str:
        """Return a name as a path from the folder, or "" if it is outside."""
        if "\\" in name and name not in self._known:
            name = name.replace("\\", "/")
        if not name:
            return ""
        if name.startswith("/"):
            real = os.path.realpath(self.folder)
            for folder in (os.path.abspath(self.folder), real):
                if name.startswith(folder + "/"):
                    name = name.removeprefix(folder + "/")
                    break
            else:
                return ""
        path = posixpath.normpath(name)
        return "" if path == "." or path.split("/")[0] == ".." else path

    def _direct(self, path: str) -> list[str]:
        if not path:
            return []
        if path in self._known or (path not in self._stems and self._is_file(path)):
            return [path]
        return self._stems.get(path, [])

    def _is_file(self, path: str) -> bool:
        """Return whether a file exists that the listing leaves out, such as a hidden one."""
        try:
            return "." in path and os.path.isfile(f"{self.folder}/{path}")
        except ValueError:  # a null character
            return False

    def _below(self, path: str) -> list[str]:
        if not path:
            return []
        if self._tails is None:
            self._tails = defaultdict(list)
            for file in self.images():
                name = posixpath.basename(file)
                self._tails[name].append(file)
                self._tails[os.path.splitext(name)[0]].append(file)
        candidates = self._tails.get(posixpath.basename(path), [])
        exact = [file for file in candidates if file.endswith(f"/{path}")]
        return exact or [f for f in candidates if os.path.splitext(f)[0].endswith(f"/{path}")]


def _without_outputs(files: list[str]) -> list[str]:
    """Leave out what a pipeline writes, where the folder is in or around a repository."""
    projects = [f.removesuffix("dvc.yaml") for f in files if posixpath.basename(f) == "dvc.yaml"]
    outputs = tuple(f"{project}{name}/" for project in projects for name in OUTPUTS)
    return [file for file in files if not file.startswith(outputs)]
