"""Interpret a directory tree: which folders are splits, which are classes, which are neither."""

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from thaw.config.dataset import FolderSource
from thaw.data import layout_questions as ask
from thaw.data.folder_names import (
    ANONYMOUS,
    AS_CLASS,
    NEUTRAL,
    SPLITS,
    UNLABELLED,
    is_fold,
    is_group,
    is_kind,
    split_of,
    splits_of,
    words_around_split,
)
from thaw.data.tree import Folder
from thaw.errors import UserError


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
        split_folders: Names of the folders that are splits, in the order in which they are read.
        notes: What else is worth knowing about the layout.
        class_parents: Paths of the folders that directly contain the class folders.
    """

    def __init__(self, options: FolderSource, source: str) -> None:
        self.options, self.source = options, source
        self.recognizes = options.layout is None and options.label_pattern is None
        self.split_folders: dict[str, None] = {}
        self.notes: list[str] = []
        self.class_parents: set[str] = set()
        self._known: set[str] = set()  # labels read so far, those of train first

    def read(self, images: list[str]) -> list[Image]:
        """Return each of the images with its label, split and group.

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
        return self._checked(rows)

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
            if len(splits) < len(folders):
                raise ask.mixed_splits(self.source, top, splits, split)
            rows = []
            for name, inner in self._in_order(splits):
                rows += self._recognized(folders[name], self._nested(split, inner, name), group)
            return rows
        if any(splits_of(folder.folders) for folder in folders.values()):
            return self._splits_in_classes(top, split, group)
        if any(map(is_fold, folders)):
            return self._folds(top, split)
        if self.recognizes:
            self._look_for_other_meanings(top, split)
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
        self._known |= set(top.folders)
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
            raise ask.splits_in_classes(self.source, top, inner)
        return self._class_splits(top, group)

    def _folds(self, top: Folder, split: str) -> list[Image]:
        """Read folders such as fold1 and fold2: parts of one set, which become groups."""
        if others := [name for name in top.folders if not is_fold(name)]:
            problem = f"are numbered parts and others ({', '.join(others[:5])})."
            raise ask.folds(self.source, top, problem)
        if any(folder.images for folder in top.folders.values()):
            raise ask.folds(self.source, top, "are numbered parts without class folders.")
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
            wraps_splits = not split and len(splits_of(inner.folders)) == len(inner.folders) > 1
            if name in self._known or not (nothing or inner.folders):
                break  # a class
            if found not in (None, split) and not wraps_splits:
                break  # the only split, or one inside another
            top = inner
        return top

    def _in_order(self, splits: dict[str, str]) -> list[tuple[str, str]]:
        """Return folders with their splits, train first, and note their names."""
        order = sorted(splits.items(), key=lambda item: [*SPLITS, UNLABELLED, ""].index(item[1]))
        self.split_folders |= dict.fromkeys(name for name, split in order if split)
        return order

    def _nested(self, outer: str, inner: str, name: str) -> str:
        """Return the split of a folder in another split: train/validation is validation."""
        if outer in ("", inner, "train"):
            return inner
        raise UserError(
            f"{self.source}: {name}/ ({inner}) is inside a folder of {outer} images. Choose the "
            f"folder to read: -S dataset.source.root=FOLDER. {ask.see('splits')}"
        )

    def _look_for_other_meanings(self, top: Folder, split: str) -> None:
        """Raise an error if the folders may be something else than classes."""
        folders = top.folders
        for folder in folders.values():
            if len(same := set(folder.folders) & set(folders)) > 1:
                raise ask.copies(self.source, top, folder, same)
        if kinds := {n for f in folders.values() for n in f.names_below() if is_kind(n)}:
            raise ask.kinds_in_classes(self.source, top, kinds, split)
        if kinds := {n for n in folders if is_kind(n) and n.lower() not in AS_CLASS}:
            raise ask.kinds_as_classes(self.source, top, kinds)
        count = Counter(name for folder in folders.values() for name in folder.folders)
        groups = {name for name in count if is_group(name) or is_fold(name)}
        named = {name for name in count if name not in groups and name.lower() not in NEUTRAL}
        repeated = {name for name in named if count[name] > 1}
        if repeated and 2 * len(repeated) >= len(named):
            raise ask.same_folders(self.source, top, repeated, split)
        if groups:
            self.notes.append(
                f"sub-folders such as {min(groups)}/ look like groups: "
                f"-S dataset.split.group=folder keeps each in one split"
            )

    def _checked(self, rows: list[Image]) -> list[Image]:
        labels: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            labels[row.split].add(row.label)
        splits = {split: present - {""} for split, present in labels.items()}
        if any(splits) and not splits.get("train"):
            raise UserError(
                f"{self.source} has {ask.folder_list(self.split_folders)} but no train/ to train "
                f"on. {ask.see('splits')}"
            )
        learned = splits.get("train") or splits[""]
        for split in ("validation", "test"):
            unknown = splits.get(split, set()) - learned
            if unknown and unknown == splits[split] and {n.lower() for n in unknown} <= ANONYMOUS:
                for row in rows:  # test/unknown/1.jpg
                    row.label = "" if row.split == split else row.label
            elif unknown:
                raise ask.unknown_classes(self.source, split, unknown)
            elif splits.get(split) and (missing := learned - splits[split]):
                self.notes.append(f"no {split} image of {', '.join(sorted(missing))}")
        if len(learned) < 2:
            raise UserError(
                f"{self.source} has one class, {', '.join(learned)!r}. Expected two or more "
                f"sub-folders with images. {ask.see('layouts')}"
            )
        if self.recognizes:
            self._check_names(learned)
        if unlabelled := [row.path for row in rows if not row.label]:
            place = os.path.commonpath([os.path.dirname(path) for path in unlabelled])
            self.notes.append(f"{len(unlabelled):,} unlabelled in {place}/")
        for row in rows:
            row.split = row.split if row.label else ""
        return rows

    def _check_names(self, labels: set[str]) -> None:
        parts = {label: words for label in labels if (words := words_around_split(label))}
        repeated = Counter(parts.values())
        if both := [label for label, words in parts.items() if repeated[words] > 1]:
            raise ask.split_in_names(self.source, both)
        alike = Counter(label.casefold() for label in labels)
        if both := sorted(label for label in labels if alike[label.casefold()] > 1):
            raise UserError(
                f"{self.source}: the classes {', '.join(both)} differ only in upper and lower "
                f"case. Rename one, or set dataset.source.layout if they are different classes."
            )
