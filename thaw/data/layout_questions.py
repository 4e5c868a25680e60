"""Errors about the layout of a dataset: what was found, and the parameters that decide."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from thaw.config.base import did_you_mean
from thaw.data.folder_names import NEUTRAL, split_of, splits_of, suggest_label_pattern
from thaw.data.tree import Folder
from thaw.errors import UserError, bullet_list, see

GUIDE = "your-images"  # the page in docs/
CLASSES = "dataset.source.layout=classes"
RENAME = "If they are splits, name them train, validation and test."
FOLDERS = "dataset.source.layout=folders/classes"


def question(source: str, problem: str, choices: dict[str, str], section: str) -> UserError:
    """Return the error that describes several interpretations.

    Args:
        source: How messages name the folder or archive.
        problem: What was found, a sentence.
        choices: The override that chooses each interpretation, by its description.
        section: Of the guide.
    """
    lines = [f"{meaning}: -S {override(choice)}" for meaning, choice in choices.items()]
    return UserError(f"{source}: {problem} Choose:\n{bullet_list(lines)}\n{see(GUIDE, section)}")


def mixed_splits(source: str, top: Folder, splits: Iterable[str], split: str) -> UserError:
    """Return the error about folders that are partly splits."""
    others = sorted(set(top.folders) - set(splits))
    layout = "splits/classes" if split else "classes"
    choices = {}
    if any(top.folders[name].folders for name in splits):
        choices[f"leave out {folder_list(others)}"] = _exclude(top, others)
    for name in others:
        inner = top.folders[name]
        while len(inner.folders) == 1 and not inner.images:
            (inner,) = inner.folders.values()
        if splits_of(inner.folders):
            choices[f"read only {inner.path}/"] = _root(inner)
    choices["all of these folders are classes"] = f"dataset.source.layout={layout}"
    problem = f"mixes split folders ({folder_list(splits)}) with others ({folder_list(others)})."
    return question(source, problem, choices, "splits")


def splits_in_classes(source: str, top: Folder) -> UserError:
    """Return the error about splits inside folders that may be classes."""
    inner = {
        name: {each for each in folder.names_below() if split_of(each)}
        for name, folder in top.folders.items()
    }
    outer = sorted(name for name, splits in inner.items() if splits)
    names: set[str] = set().union(*inner.values())
    classes = folder_list(top.folders)
    choices = {f"read only {outer[0]}/": _root(top.folders[outer[0]])}
    if all(names & set(folder.folders) for folder in top.folders.values()):
        choices[f"{classes} are classes, and {folder_list(names)} their splits"] = (
            "dataset.source.layout=classes/splits"
        )
    choices[f"{classes} are classes, the folders in them mean nothing"] = CLASSES
    problem = f"{folder_list(outer)} contain {folder_list(names)}, which look like splits."
    return question(source, problem, choices, "splits-inside-classes")


def split_in_names(source: str, labels: list[str]) -> UserError:
    """Return the error about folders such as cats_train, cats_test, dogs_train and dogs_test."""
    return question(
        source,
        f"the names of {folder_list(labels)} seem to combine a class and a split. Move them to "
        f"train/CLASS/ and test/CLASS/.",
        {"each is a class of its own": CLASSES},
        "splits",
    )


def folds(source: str, top: Folder, problem: str) -> UserError:
    """Return the error about numbered parts that cannot be read as one set."""
    choices = {"each is a class": CLASSES}
    return question(source, f"{folder_list(top.folders)} {problem}", choices, "folds")


def copies(source: str, top: Folder, folder: Folder, same: set[str]) -> UserError:
    """Return the error about a folder that contains the folders beside it once more."""
    name = PurePosixPath(folder.path).name
    choices = {
        f"leave out {name}/": _exclude(top, [name]),
        f"read only {name}/": _root(folder),
        "all of these folders are classes": CLASSES,
    }
    problem = f"{name}/ looks like a second copy: it contains {folder_list(same)} as well."
    return question(source, problem, choices, "copies")


def kinds_in_classes(source: str, top: Folder, kinds: set[str], split: str) -> UserError:
    """Return the error about classes whose sub-folders are images and, for example, masks."""
    choices = {f"leave out {folder_list(kinds)}": f"dataset.source.exclude={_array(kinds)}"}
    beside = {name for folder in top.folders.values() for name in folder.folders} - kinds
    for name in sorted(name for name in beside if name.lower() in NEUTRAL):
        choices[f"read only {name}/"] = f"dataset.source.include={_array([name])}"
    layout = "splits/classes" if split else "classes"
    choices["all are images of their class"] = f"dataset.source.layout={layout}"
    problem = (
        f"the classes {folder_list(top.folders)} have sub-folders that look like different kinds "
        f"of image: {folder_list(kinds | beside)}."
    )
    return question(source, problem, choices, "masks")


def kinds_as_classes(source: str, top: Folder, kinds: set[str]) -> UserError:
    """Return the error about a folder such as masks/ beside classes."""
    rest = sorted(set(top.folders) - kinds)
    choices = {f"leave out {folder_list(kinds)}": _exclude(top, sorted(kinds))}
    choices["all of these folders are classes"] = CLASSES
    problem = (
        f"{folder_list(kinds)} beside {folder_list(rest)} seems to be another kind of image, not "
        f"a class."
    )
    return question(source, problem, choices, "masks")


def same_folders(
    source: str, top: Folder, names: list[str], repeated: set[str], split: str
) -> UserError:
    """Return the error about folders that contain the same sub-folders."""
    first = top.folders[min(names)]
    before = "splits/" if split else ""
    choices = {
        f"{folder_list(top.folders)} are the classes": f"dataset.source.layout={before}classes",
        f"{folder_list(repeated)} are the classes, and read from {min(names)}/ only": _root(first),
    }
    if not split:
        both = f"{folder_list(repeated)} are the classes, and read from all of these folders"
        choices[both] = FOLDERS
    problem = (
        f"{folder_list(names)} contain the same sub-folders, {folder_list(repeated)}. {RENAME}"
    )
    return question(source, problem, choices, "the-same-sub-folders-everywhere")


def folders_in_classes(source: str, top: Folder, nested: list[str], split: str) -> UserError:
    """Return the error about folders whose sub-folders may be the classes."""
    inner = {name for folder in nested for name in top.folders[folder].folders}
    others = set(top.folders) - set(nested)
    before = "splits/" if split else ""
    choices = {
        f"{folder_list(top.folders)} are the classes": f"dataset.source.layout={before}classes"
    }
    if not others and not split:
        choices[f"{folder_list(inner)} are the classes"] = FOLDERS
    if not split:
        first = top.folders[nested[0]]
        choices[f"{folder_list(first.folders)} are the classes, and nothing else is read"] = _root(
            first
        )
    beside = f", beside {folder_list(others)} without sub-folders" if others else ""
    problem = (
        f"{folder_list(nested)} contain {folder_list(inner)}{beside}. Either may be the classes. "
        f"{RENAME}"
    )
    return question(source, problem, choices, "folders-inside-classes")


class NoClassFolders(UserError):
    """Raised for images that are in no class folder."""


def stray_images(source: str, top: Folder) -> NoClassFolders:
    """Return the error about images beside folders."""
    return NoClassFolders(
        f"{len(top.images)} images are in no class folder of {source}. Move each into a sub-folder "
        f"named after its class, or leave them out with dataset.source.exclude:\n"
        f"{bullet_list(sorted(top.images))}\n{_suggestion(top)}{see(GUIDE, 'labels-in-file-names')}"
    )


def flat_folder(source: str, top: Folder) -> NoClassFolders:
    """Return the error about images without class folders."""
    images = sorted(top.walk())
    where = f"{top.path}/ of {source}" if top.path else source
    return NoClassFolders(
        f"{len(images)} images are in no class folder of {where}. Move each into a sub-folder "
        f"named after its class, or read the labels from a table with dataset=manifest:\n"
        f"{bullet_list(images, 5)}\n{_suggestion(top)}{see(GUIDE, 'labels-in-file-names')}"
    )


def unnamed_images(pattern: str, unnamed: list[str], total: int) -> UserError:
    """Return the error about images in whose names a pattern finds no label."""
    return UserError(
        f"dataset.source.label_pattern = {pattern!r} finds no label in {len(unnamed)} of {total} "
        f"images. Change it, or leave these out with dataset.source.exclude:\n"
        f"{bullet_list(unnamed)}\n{see(GUIDE, 'labels-in-file-names')}"
    )


def no_splits(source: str, layout: str | None, top: Folder, splits: Iterable[str]) -> UserError:
    """Return the error about folders that are no splits though the layout says so."""
    others = sorted(set(top.folders) - set(splits)) or top.images
    return UserError(
        f"dataset.source.layout = {layout!r}: expected only split folders such as train/ and test/ "
        f"in {top.path or source}, which also has:\n{bullet_list(others)}\n{see(GUIDE, 'splits')}"
    )


def unknown_classes(
    source: str, split: str, unknown: set[str], known: set[str], left_out: set[str]
) -> UserError:
    """Return the error about test or validation classes without training images.

    Args:
        source: How messages name the folder or archive.
        split: test or validation.
        unknown: The classes without training images.
        known: The classes of the training images.
        left_out: The patterns that leave out `unknown` and what is left out already.
    """
    other = did_you_mean(min(unknown), sorted(known))
    choices = {
        "leave them out": f"dataset.source.exclude={_array(left_out)}",
        "use the images of all splits, and let Thaw draw new splits": FOLDERS,
    }
    problem = (
        f"the {split} images have classes that train/ lacks: {', '.join(sorted(unknown))}.{other} "
        f"Add training images of them if there are any."
    )
    return question(source, problem, choices, "splits")


def folder_list(names: Iterable[str]) -> str:
    """Return names of folders, such as `a/, b/ and 3 more`."""
    ordered = sorted(names)
    most = 5 if len(ordered) <= 5 else 4
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{name}/" for name in ordered[:most]) + more


def _root(folder: Folder) -> str:
    return f"dataset.source.root={_quote(folder.path)}"


def _exclude(top: Folder, names: list[str]) -> str:
    # a pattern without a slash would match folders of this name at any depth
    paths = ["/" + re.sub(r"([*?[])", r"[\1]", top.folders[name].path) for name in names]
    return f"dataset.source.exclude={_array(paths)}"


def _array(names: Iterable[str]) -> str:
    return f"[{','.join(_quote(name) for name in sorted(names))}]"


def _quote(text: str) -> str:
    """Return text as Hydra reads it in a value."""
    if re.fullmatch(r"[A-Za-z0-9_./-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def override(text: str) -> str:
    """Return an override as it is typed in a shell."""
    return f"'{text}'" if re.search(r"[^A-Za-z0-9_./=-]", text) else text


def _suggestion(top: Folder) -> str:
    found = suggest_label_pattern(PurePosixPath(image).name for image in top.walk())
    if not found:
        return ""
    pattern, labels = found
    choice = override(f'dataset.source.label_pattern="{pattern}"')
    return f"The file names seem to contain the labels {', '.join(labels[:5])}: -S {choice}\n"
