"""Interpret a directory tree: which folders are splits, which are classes, which are neither."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from thaw.config.dataset import FolderSource
from thaw.data import layout_questions as ask
from thaw.data.folder_names import (
    ANONYMOUS,
    NEUTRAL,
    SPLITS,
    UNLABELLED,
    is_fold,
    is_group,
    normalized,
    split_of,
    splits_of,
)
from thaw.data.layout_checks import check_classes, check_names
from thaw.data.tree import Folder
from thaw.errors import UserError, see


@dataclass
class Image:
    """An image and what its path implies.

    Attributes:
        path: Relative to the source.
        label: "" if it is unlabelled.
        split: train, validation or test; "" if the source has no splits, or it is unlabelled.
        group: The folder that is neither a class nor a split, such as `fold1`; "" if none.
    """

    path: str
    label: str
    split: str = ""
    group: str = ""


class Interpreter:
    """Reads the images of one source.

    Args:
        options: `dataset.source`.
        source: How messages name the folder or archive.

    Attributes:
        root: Path of the folder that contains the dataset.
        split_folders: The split of each folder that is one, in the order in which they are read.
        notes: What else is worth knowing about the layout.
        class_parents: Paths of the folders that directly contain the class folders.
    """

    def __init__(self, options: FolderSource, source: str) -> None:
        self.options, self.source = options, source
        self.recognizes = options.layout is None and options.label_pattern is None
        self.root: str | None = None
        self.split_folders: dict[str, str] = {}
        self.notes: list[str] = []
        self.class_parents: set[str] = set()
        self._known: set[str] = set()  # labels read so far, those of train first

    def read(self, images: list[str]) -> list[Image]:
        """Return each of the images with its label, split and group, sorted by path.

        Raises:
            UserError: The paths can be read in several ways, or give no classes.
        """
        top = Folder.of(images)
        for name in PurePosixPath(self.options.root or ".").parts:
            top = top.folders[name]  # the caller passes only images in `root`
        if self.options.label_pattern is not None:
            rows = self._named(self._unwrapped(top, ""), "", self.options.label_pattern)
        elif self.options.layout is not None:
            rows = self._declared(self._unwrapped(top, ""), self.options.layout)
        else:
            rows = self._recognized(top, "", "")
        return sorted(self._checked(rows), key=lambda row: row.path)

    def _recognized(self, top: Folder, split: str, group: str) -> list[Image]:
        """Read the layout that the names of the folders show.

        Args:
            top: What to read.
            split: Of all its images, "" if unknown.
            group: Of all its images, "" if none.
        """
        top = self._unwrapped(top, split)
        folders = top.folders
        if split == UNLABELLED or not folders:
            return self._flat(top, split, group)
        splits = splits_of(folders)
        if top.images:
            raise ask.stray_images(self.source, top)
        if splits:
            rest = {name: folder for name, folder in folders.items() if name not in splits}
            rows = []
            if rest and set(splits.values()) == {UNLABELLED}:
                rows += self._recognized(Folder(top.path, [], rest), split, group)
            elif rest:
                raise ask.mixed_splits(self.source, top, splits, split)
            for name, inner in self._in_order(splits):
                rows += self._recognized(folders[name], self._nested(split, inner, name), group)
            return rows
        if any(map(split_of, (n for folder in folders.values() for n in folder.names_below()))):
            return self._splits_in_classes(top, split, group)
        if any(map(is_fold, folders)):
            return self._folds(top, split)
        if note := check_classes(self.source, top, split):
            self.notes.append(note)
        return self._classes(top, split, group)

    def _declared(self, top: Folder, layout: str) -> list[Image]:
        """Read the layout that `dataset.source.layout` gives."""
        if layout == "classes":
            return self._classes(top, "", "")
        if layout == "classes/splits":
            return self._class_splits(top, "")
        if top.images:
            raise ask.stray_images(self.source, top)
        splits = dict.fromkeys(top.folders, "")
        if layout == "splits/classes":
            splits = splits_of(top.folders)
            if len(splits) < len(top.folders):
                raise ask.no_splits(self.source, layout, top, splits)
        rows = []
        for name, split in self._in_order(splits):
            inner = self._unwrapped(top.folders[name], split)
            group = "" if split else name
            if inner.folders and split != UNLABELLED:
                rows += self._classes(inner, split, group)
            else:
                rows += self._flat(inner, split, group)
        return rows

    def _named(self, top: Folder, split: str, pattern: str) -> list[Image]:
        """Read images whose names contain their labels."""
        splits = splits_of(top.folders)
        if splits and not top.images and len(splits) == len(top.folders):
            rows = []
            for name, inner in self._in_order(splits):
                rows += self._named(top.folders[name], self._nested(split, inner, name), pattern)
            return rows
        rows, unnamed = [], []
        for path in top.walk():
            match = re.search(pattern, path if "/" in pattern else PurePosixPath(path).name)
            label = match[1] if match and match[1] and split != UNLABELLED else ""
            rows.append(Image(path, label, split))
            if not label:
                unnamed.append(path)
        if unnamed and (split in ("", "train") or len(unnamed) < len(rows)):
            raise ask.unnamed_images(pattern, unnamed, len(rows))
        return rows

    def _classes(self, top: Folder, split: str, group: str) -> list[Image]:
        """Read folders that are classes."""
        if top.images:
            raise ask.stray_images(self.source, top)
        self._known |= set(map(normalized, top.folders))
        self.class_parents.add(top.path)
        return [
            Image(path, label, split, group)
            for label, folder in top.folders.items()
            for path in folder.walk()
        ]

    def _class_splits(self, top: Folder, group: str) -> list[Image]:
        """Read classes that contain splits."""
        rows = []
        for label, folder in top.folders.items():
            splits = splits_of(folder.folders)
            if folder.images or len(splits) < len(folder.folders):
                raise ask.no_splits(self.source, self.options.layout, folder, splits)
            for name, split in self._in_order(splits):
                known = label if split in SPLITS else ""
                rows += [Image(p, known, split, group) for p in folder.folders[name].walk()]
        return rows

    def _splits_in_classes(self, top: Folder, split: str, group: str) -> list[Image]:
        """Read classes that contain splits, if nothing else is possible."""
        inner = {name: splits_of(folder.folders) for name, folder in top.folders.items()}
        complete = all(
            inner[name] and len(inner[name]) == len(folder.folders) and not folder.images
            for name, folder in top.folders.items()
        )
        deeper = {
            name
            for folder in top.folders.values()
            for each in folder.folders.values()
            for name in each.names_below()
            if not is_group(name) and name.lower() not in NEUTRAL
        }
        if split or deeper or not complete or any(map(is_fold, top.folders)):
            raise ask.splits_in_classes(self.source, top)
        return self._class_splits(top, group)

    def _folds(self, top: Folder, split: str) -> list[Image]:
        """Read folders such as fold1 and fold2: parts of one set, which become groups."""
        if others := [name for name in top.folders if not is_fold(name)]:
            problem = f"are numbered parts and others ({', '.join(others[:5])})."
            raise ask.folds(self.source, top, problem)
        if any(folder.images for folder in top.folders.values()):
            problem = (
                "are numbered parts without class folders. Read the labels from a table with "
                "dataset=manifest, or from file names with dataset.source.label_pattern."
            )
            raise ask.NoClassFolders(str(ask.folds(self.source, top, problem)))
        self.notes.append(
            f"{ask.folder_list(top.folders)} are read as one set: "
            f"-S dataset.split.group=group keeps each in one split"
        )
        return [
            row
            for name, folder in top.folders.items()
            for row in self._recognized(folder, split, name)
        ]

    def _flat(self, top: Folder, split: str, group: str) -> list[Image]:
        """Read the images of a split without class folders: they are unlabelled."""
        if split in ("", "train"):
            raise ask.flat_folder(self.source, top)
        return [Image(path, "", split, group) for path in top.walk()]

    def _unwrapped(self, top: Folder, split: str) -> Folder:
        """Return the folder that contains the dataset, not one that only wraps another.

        A folder around class folders is passed through, and so are `images/` and a folder with the
        name of its split, such as `seg_train/seg_train/`.
        """
        while not top.images and len(top.folders) == 1:
            ((name, inner),) = top.folders.items()
            found = split_of(name)
            nothing = name.lower() in ANONYMOUS or found is not None and found == split
            nothing |= bool(split) and name == PurePosixPath(top.path).name  # x_test/x_test/
            wraps_splits = not split and len(splits_of(inner.folders)) == len(inner.folders) > 1
            if normalized(name) in self._known or not (nothing or inner.folders):
                break  # a class
            if found not in (None, split) and not wraps_splits:
                break  # the only split, or one inside another
            top = inner
        if self.root is None:
            self.root = top.path
        return top

    def _in_order(self, splits: dict[str, str]) -> list[tuple[str, str]]:
        """Return folders with their splits, train first, and note their names."""
        order = sorted(splits.items(), key=lambda item: [*SPLITS, UNLABELLED, ""].index(item[1]))
        self.split_folders |= {name: split for name, split in order if split}
        return order

    def _nested(self, outer: str, inner: str, name: str) -> str:
        """Return the split of a folder in another split: train/validation is validation."""
        if outer in ("", inner, "train"):
            return inner
        raise UserError(
            f"{self.source}: {name}/ ({inner}) is inside a folder of {outer} images. Choose the "
            f"folder to read: -S dataset.source.root=FOLDER. {see(ask.GUIDE, 'splits')}"
        )

    def _checked(self, rows: list[Image]) -> list[Image]:
        labels: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            row.label = normalized(row.label)
            labels[row.split].add(row.label)
        splits = {split: present - {""} for split, present in labels.items()}
        if set(splits) - {"", UNLABELLED} and not splits.get("train"):
            raise UserError(
                f"{self.source} has {ask.folder_list(self.split_folders)} but no train/ to train "
                f"on. {see(ask.GUIDE, 'splits')}"
            )
        learned = splits.get("train") or splits.get("", set())
        for split in ("validation", "test"):
            unknown = splits.get(split, set()) - learned
            if unknown and unknown == splits[split] and {n.lower() for n in unknown} <= ANONYMOUS:
                for row in rows:  # test/unknown/1.jpg
                    row.label = "" if row.split == split else row.label
            elif unknown:
                left_out = {*self.options.exclude, *unknown}
                raise ask.unknown_classes(self.source, split, unknown, learned, left_out)
            elif splits.get(split) and (missing := learned - splits[split]):
                self.notes.append(f"no {split} image of {', '.join(sorted(missing))}")
        if len(learned) < 2:
            raise UserError(
                f"{self.source} has one class, {', '.join(learned)!r}. Expected two or more "
                f"sub-folders with images. {see(ask.GUIDE, 'layouts')}"
            )
        if self.recognizes:
            check_names(self.source, learned)
        for split, count in Counter(row.split for row in rows if not row.label).items():
            names = [name for name, own in self.split_folders.items() if own == split]
            self.notes.append(f"{count:,} unlabelled in {ask.folder_list(names)}")
        for row in rows:
            row.split = row.split if row.label else ""
        return rows
