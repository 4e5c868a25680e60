"""Find the images that must stay in one split: `dataset.split.group`."""

import re
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from thaw.config.base import did_you_mean
from thaw.config.dataset import NEAR_DUPLICATES, Split
from thaw.data.duplicates import connected_groups, embeddings, merge
from thaw.data.folder_names import normalized, split_of
from thaw.data.raw import original_path
from thaw.errors import UserError, bullet_list
from thaw.storage.arrays import ArrayFolder

FOLDER = "folder"  # the value of dataset.split.group for the folders below a class folder


def split_groups(index: pd.DataFrame, split: Split, features: ArrayFolder | None) -> pd.Series:
    """Return the group of each image. No group may be in two splits.

    Identical images are always in one group. Groups that share an identical image are merged.

    Args:
        index: Columns path, label, split (of the source) and pixel_sha256, and those that
            `split.group` may name.
        split: How images are grouped.
        features: Cached features, read only for near-duplicates.

    Returns:
        The name of each row's group: the value that `split.group` gives, or `pixel_sha256` for an
        image that has no value.

    Raises:
        UserError: `split.group` fits no column and no path, or gives no group at all.
    """
    keys, numbers = index["pixel_sha256"], index["pixel_sha256"].factorize()[0]
    if split.group is None:
        return keys.copy()
    if split.group == NEAR_DUPLICATES:
        assert features is not None
        distinct = keys.drop_duplicates().tolist()  # in the order of `numbers`
        vectors = embeddings(features, distinct)
        numbers = connected_groups(vectors, split.near_duplicate_similarity)[numbers]
        return keys.groupby(numbers).transform("min")
    values = _values(index, split.group)
    named = np.flatnonzero(values.to_numpy() != "")
    firsts = values.iloc[named].drop_duplicates()
    first_row = values.iloc[named].map(
        dict(zip(firsts, index.index.get_indexer(firsts.index), strict=True))
    )
    merged = merge(numbers, named, first_row.to_numpy())
    shown = values.where(values != "", None).groupby(merged).transform("min")
    return shown.where(shown.notna(), keys.groupby(merged).transform("min"))


def _values(index: pd.DataFrame, group: str) -> pd.Series:
    """Return what a column, the folders or a regular expression give for each row; "" for none."""
    if group in index:
        values = index[group].fillna("").astype(str).str.strip()
        source = f"column {group!r} is empty"
    elif group == FOLDER:
        rows = zip(index["path"], index["label"], index["split"], strict=True)
        values = pd.Series([_folders(*row) for row in rows], index.index)
        example = original_path(index["path"].iloc[0])
        source = f"no image has a folder between its class folder and its file, such as {example}"
    elif "(" in group:
        values = _matches(index["path"].map(original_path), group)
        source = "the parentheses match no text in any path"
    else:
        known = [FOLDER, NEAR_DUPLICATES, *index.columns]
        raise UserError(
            f"dataset.split.group = {group!r}: expected `folder`, `near_duplicates`, a regular "
            f"expression with one pair of parentheses, or a column of data/index.csv: "
            f"{', '.join(index.columns)}.{did_you_mean(group, known)}"
        )
    if (values == "").all():
        raise UserError(f"dataset.split.group = {group!r}: {source}, so there are no groups.")
    return values


def _folders(path: str, label: str, split: str) -> str:
    """Return the folders between an image's class folder and its file, without that of a split.

    If no folder is named like the class, they are all folders above the file.
    """
    folders = PurePosixPath(normalized(original_path(path))).parts[:-1]
    if label in folders:
        start = folders.index(label)
        while folders[start : start + 1] == (label,):  # a folder may be doubled
            start += 1
        folders = folders[start:]
    if split:
        folders = tuple(name for name in folders if split_of(name) is None)
    return "/".join(folders)


def _matches(paths: pd.Series, pattern: str) -> pd.Series:
    """Return what the parentheses of a regular expression match in each path."""
    found = paths.map(re.compile(pattern).search)
    if len(missing := paths[found.isna()]):
        raise UserError(
            f"dataset.split.group = {pattern!r} matches {len(paths) - len(missing):,} of "
            f"{len(paths):,} paths. Expected all, so that no image is left without a group. "
            f"It does not match:\n{bullet_list(missing.tolist(), 5)}"
        )
    return found.map(lambda match: match[1] or "")
