"""Check that folders which look like classes cannot be something else."""

import unicodedata
from collections import Counter

from thaw.data import layout_questions as ask
from thaw.data.folder_names import (
    AS_CLASS,
    NEUTRAL,
    is_fold,
    is_group,
    is_kind,
    words_around_split,
)
from thaw.data.tree import Folder
from thaw.errors import UserError, see


def check_classes(source: str, top: Folder, split: str) -> str | None:
    """Check that folders side by side are classes and nothing else.

    Args:
        source: How messages name the folder or archive.
        top: Its sub-folders are the classes.
        split: The split that contains them, or "".

    Returns:
        A note for the user, or None.

    Raises:
        UserError: The folders may be something else.
    """
    folders = top.folders
    for folder in folders.values():
        if len(same := set(folder.folders) & set(folders)) > 1:
            raise ask.copies(source, top, folder, same)
    if kinds := {n for f in folders.values() for n in f.names_below() if is_kind(n)}:
        raise ask.kinds_in_classes(source, top, kinds, split)
    kinds = {n for n in folders if is_kind(n) and n.lower() not in AS_CLASS}
    if kinds or (kinds := {n for n in folders if n.lower() in NEUTRAL}):
        raise ask.kinds_as_classes(source, top, kinds)
    inner = {name: folder.without_wrappers(NEUTRAL) for name, folder in folders.items()}
    count = Counter(name for folder in inner.values() for name in folder.folders)
    groups = {name for name in count if is_group(name) or is_fold(name)}
    named = {name for name in count if name not in groups and name.lower() not in NEUTRAL}
    repeated = {name for name in named if count[name] > 1}
    own = [named & set(folder.folders) for folder in inner.values()]
    within = any(names and names <= repeated for names in own)
    if within or (repeated and 2 * len(repeated) >= len(named)):
        names = [name for name, folder in inner.items() if repeated & set(folder.folders)]
        raise ask.same_folders(source, top, names, repeated, split)
    nested = [n for n, f in inner.items() if not f.images and len(named & set(f.folders)) > 1]
    numbered = all(any(map(str.isdigit, name)) for name in named)  # clips, specimens, patients
    if 3 * len(nested) >= len(folders) and not (numbered and len(nested) == len(folders)):
        raise ask.folders_in_classes(source, top, nested, split)
    if not groups:
        return None
    return (
        f"sub-folders such as {min(groups)}/ look like groups: "
        f"-S dataset.split.group=folder keeps each in one split"
    )


def check_names(source: str, labels: set[str]) -> None:
    """Check that no class is a class and a split in one, and that no two look the same.

    Raises:
        UserError: There are such classes.
    """
    parts = {label: words for label in labels if (words := words_around_split(label))}
    repeated = Counter(parts.values())
    if both := [label for label, words in parts.items() if repeated[words] > 1]:
        raise ask.split_in_names(source, both)
    if both := look_alikes(labels):
        raise UserError(
            f"{source}: the classes {', '.join(map(repr, both))} differ only in upper and lower "
            f"case or in spaces. Rename one, or set dataset.source.layout if they are different "
            f"classes. {see(ask.GUIDE, 'layouts')}"
        )


def look_alikes(labels: set[str]) -> list[str]:
    """Return the classes that differ from another only in case, spaces or forms of characters."""
    alike = {
        label: " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())
        for label in labels
    }
    count = Counter(alike.values())
    return sorted(label for label in labels if count[alike[label]] > 1)
