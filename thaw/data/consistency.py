"""Find images that contradict each other: two labels, two splits, or a class without images."""

from collections import defaultdict

import pandas as pd

from thaw.data.raw import original_path
from thaw.errors import UserError, bullet_list, see

GUIDE = see("your-images", "contradictions-and-leaks")


def left_out(index: pd.DataFrame, on_contradiction: str, on_leak: str) -> pd.Series:
    """Return which rows must be left out because of contradictions or leaks.

    Args:
        index: Columns path, label, pixel_sha256 and split ("" if the source has none).
        on_contradiction: `dataset.on_contradiction`: stop or drop.
        on_leak: `dataset.on_leak`: stop or drop.

    Returns:
        One bool for each row.

    Raises:
        UserError: An image has two labels or is in two splits, and the action for it is stop.
    """
    contradictory = contradictions(index, on_contradiction)
    leaked = leaks(index[~contradictory], on_leak)
    return contradictory | leaked.reindex(index.index, fill_value=False)


def contradictions(index: pd.DataFrame, action: str) -> pd.Series:
    """Return which rows have an image that also has another label.

    Args:
        index: Columns path, label and pixel_sha256; all rows have a label.
        action: `dataset.on_contradiction`: stop or drop.

    Returns:
        One bool for each row, True if it must be left out.

    Raises:
        UserError: There is such an image, and `action` is stop.
    """
    found = _differing(index, "label")
    if found.any() and action == "stop":
        raise UserError(
            f"{_count(index[found])} images have two labels. Remove the wrong files, or leave out "
            f"all files of these images with -S dataset.on_contradiction=drop:\n"
            f"{bullet_list(_paths(index[found], 'label'))}\n{GUIDE}"
        )
    if found.any():
        print(f"Left out {found.sum():,} files of {_count(index[found]):,} images with two labels.")
    return found


def leaks(index: pd.DataFrame, action: str) -> pd.Series:
    """Return which rows have an image that is also in a split used later.

    A test image is removed from train and validation, a validation image from train.

    Args:
        index: Columns path, pixel_sha256 and split ("" if the source has none).
        action: `dataset.on_leak`: stop or drop.

    Returns:
        One bool for each row, True if it must be left out.

    Raises:
        UserError: There is such an image, and `action` is stop.
    """
    found = _differing(index, "split") & (index["split"] != "")
    if found.any() and action == "stop":
        raise UserError(
            f"{_count(index[found])} images are in two splits, which makes test results too "
            f"optimistic. Remove one file of each, or remove them from training with "
            f"-S dataset.on_leak=drop:\n{bullet_list(_paths(index[found], 'split'))}\n{GUIDE}"
        )
    order = index["split"].map({"train": 0, "validation": 1, "test": 2}).fillna(0)
    last = order.groupby(index["pixel_sha256"]).transform("max")
    dropped = found & (order < last)
    if dropped.any():
        counts = index.loc[dropped, "split"].value_counts()
        given = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        print(f"Left out {given} files whose images are also in a later split.")
    return dropped


def reject_lost_classes(rows: list[dict[str, str]]) -> None:
    """Stop if none of the files of a class can be read.

    Args:
        rows: With `label`, `path` and `problem`, "" if the file can be read.

    Raises:
        UserError: There is such a class.
    """
    files: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        files[row["label"]].append(row)
    lost = [
        f"{label}: {len(own)} files, such as {original_path(own[0]['path'])}: {own[0]['problem']}"
        for label, own in files.items()
        if label and all(row["problem"] for row in own)
    ]
    if lost:
        raise UserError(
            f"no image of {len(lost)} of {len(files)} classes can be read. Convert or repair them, "
            f"or remove the classes:\n{bullet_list(lost)}\n"
            f"{see('your-images', 'formats-and-bit-depth')}"
        )


def _differing(index: pd.DataFrame, column: str) -> pd.Series:
    """Return which rows have an image with several values in a column."""
    given = index[index[column] != ""]
    counts = given.groupby("pixel_sha256")[column].nunique()
    return index["pixel_sha256"].isin(counts.index[counts > 1])


def _count(rows: pd.DataFrame) -> int:
    return int(rows["pixel_sha256"].nunique())


def _paths(rows: pd.DataFrame, column: str) -> list[str]:
    """Return one line for each image: its paths, each with its value in a column."""
    ordered = rows.sort_values(["pixel_sha256", "path"])
    texts = ordered["path"].map(original_path) + " (" + ordered[column] + ")"
    return sorted(" = ".join(files) for _, files in texts.groupby(ordered["pixel_sha256"]))
