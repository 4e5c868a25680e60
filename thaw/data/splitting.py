"""Assign images to the train, validation and test splits."""

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from thaw.config.dataset import NEAR_DUPLICATES, Split
from thaw.data.drawing import draw_groups
from thaw.data.raw import original_path
from thaw.errors import UserError, bullet_list

MOST_LISTED = 5  # groups or classes that a message lists


def assign_splits(index: pd.DataFrame, split: Split) -> pd.Series:
    """Return the split of each row of `index`: train, validation or test.

    Splits of the source are kept. If the source has only train and validation, its validation
    images become the test data, so that no choice is ever made on test data. Missing splits are
    drawn at random from the training images, stratified by the columns `split.stratify`. Images of
    one group (column `split_group`) stay together. The result depends only on the content of the
    files and on which of them form a group, not on their names, their order or the size to which
    they are decoded.

    Args:
        index: Columns sha256 (of the file), path, label, pixel_sha256, split ("" if the source has
            none), split_group (see thaw.data.grouping) and those to stratify by. No image is in two
            splits (thaw/data/consistency.py).
        split: Shares of the splits, stratification, seed and how images are grouped.

    Raises:
        UserError: A group is in two splits of the source, a class or the number of groups is too
            small, or a column to stratify by does not exist.
    """
    source_splits = index["split"].copy()
    _reject_divided(index, split)
    if "test" not in set(source_splits):
        source_splits = source_splits.replace("validation", "test")
    for column in split.stratify:
        if column not in index:
            raise UserError(
                f"dataset.split.stratify = {split.stratify}: the index has no column {column!r}. "
                f"Expected some of {', '.join(index.columns)}."
            )
    # identical images take the position of the first of their files
    images = index.assign(source_split=source_splits).sort_values(["sha256", *split.stratify])
    images = images.drop_duplicates("pixel_sha256")
    names = images[split.stratify].astype(str).agg("|".join, axis=1) if split.stratify else None
    images["stratum"] = names if split.stratify else ""
    split_of = images.set_index("pixel_sha256")["source_split"].replace("", "train")
    if not (source_splits == "test").any():
        _draw(split_of, images, "test", split)
    if not (source_splits == "validation").any() and split.validation:
        _draw(split_of, images, "validation", split)
    return index["pixel_sha256"].map(split_of)


def beyond_limit(index: pd.DataFrame, splits: pd.Series, limit: int, split: Split) -> pd.Series:
    """Return which training images `dataset.max_train_images` excludes.

    The remaining images keep the proportions of the columns `split.stratify`. A larger limit keeps
    the images of a smaller one and adds others. Like `assign_splits`, this depends only on the
    content of the files. If images are grouped, whole groups are kept, with at most `limit` images.

    Args:
        index: As for `assign_splits`.
        splits: The split of each row.
        limit: Number of training images to keep.
        split: Stratification, seed and whether images are grouped.

    Returns:
        One bool for each row, True for excluded images.

    Raises:
        UserError: There are fewer training images, or a class would have none left.
    """
    train = index[splits == "train"]
    if limit > len(train):
        raise UserError(
            f"dataset.max_train_images = {limit}: expected at most {len(train)}, the number of "
            f"training images."
        )
    columns = ["sha256", *sorted(train.columns.difference(["sha256", "path", "split_group"]))]
    unit = train["split_group"] if split.group else pd.Series(train.index, train.index)
    ordered = train.sort_values(columns).assign(unit=unit)
    shuffled = ordered.drop_duplicates("unit").sample(frac=1, random_state=split.seed)
    shuffled["images"] = shuffled["unit"].map(unit.value_counts())
    # order all units by their relative position in their stratum, to keep the proportions
    names = split.stratify or (lambda _: 0)
    strata = shuffled.groupby(names, dropna=False)["images"]
    position = (strata.cumsum() - shuffled["images"] / 2) / strata.transform("sum")
    queue = shuffled.loc[position.sort_values(kind="stable").index]
    kept = train.index[unit.isin(queue.loc[queue["images"].cumsum() <= limit, "unit"])]
    if missing := set(train["label"]) - set(train.loc[kept, "label"]):
        counts = unit.map(queue.set_index("unit")["images"].cumsum())  # limit that keeps each image
        smallest = counts.groupby(train["label"]).min().max()
        raise UserError(
            f"dataset.max_train_images = {limit} leaves no training image of "
            f"{', '.join(sorted(missing))}. Expected at least {smallest}."
        )
    return (splits == "train") & ~index.index.isin(kept)


def _draw(split_of: pd.Series, images: pd.DataFrame, into: str, split: Split) -> None:
    """Move a stratified random share of the training images to another split, in place."""
    share: float = getattr(split, into)
    if not share:
        raise UserError(
            f"dataset.split.{into} = 0, but the source has no {into} images. Expected a share "
            f"above 0."
        )
    train = images[split_of.reindex(images["pixel_sha256"]).to_numpy() == "train"]
    drawn = None if split.group else _draw_images(train, share, split.seed)
    if drawn is None:
        _reject_undividable(train, into, split)
        drawn = train.loc[draw_groups(train, share, split.seed), "pixel_sha256"].to_numpy()
        _reject_other_share(train, len(drawn), into, split)
    split_of.loc[drawn] = into


def _draw_images(train: pd.DataFrame, share: float, seed: int) -> np.ndarray | None:
    """Draw single images, or return None if strata are too small for scikit-learn."""
    try:
        _, drawn = train_test_split(
            train["pixel_sha256"].to_numpy(),
            test_size=share,
            random_state=seed,
            stratify=train["stratum"],
        )
    except ValueError:
        return None
    return np.asarray(drawn)


def _reject_undividable(train: pd.DataFrame, into: str, split: Split) -> None:
    """Refuse to draw from too few groups, or test data from a class with a single group."""
    counts = train.groupby("label").agg(
        images=("split_group", "size"), groups=("split_group", "nunique")
    )
    single = counts[counts["groups"] < 2]
    if train["split_group"].nunique() > 1 and (into == "validation" or single.empty):
        return
    lines = [
        f"{label!r}: {row.images} {'image' if row.images == 1 else 'images'}"
        + (f", all in the group {_group_of(train, label)!r}" if split.group else "")
        for label, row in single.iterrows()
    ]
    what, remedy = _unit(split, into)
    raise UserError(
        f"cannot draw a {into} split of {_share(getattr(split, into))}: "
        f"{len(single):,} of {len(counts):,} classes have a single {what}, which cannot be in both "
        f"train and {into}. Expected two or more. {remedy}\n{bullet_list(lines, MOST_LISTED)}"
    )


def _reject_other_share(train: pd.DataFrame, drawn: int, into: str, split: Split) -> None:
    """Refuse a draw that is far from the share, because the groups are too large."""
    share: float = getattr(split, into)
    if share / 2 <= drawn / len(train) <= max(2 * share, share + 1 / len(train)):
        return
    sizes = train["split_group"].value_counts()
    what, remedy = _unit(split, into)
    nearest = f"the nearest possible split has {drawn:,} images ({_share(drawn / len(train))})"
    if not drawn:
        nearest = f"the smallest has {sizes.min():,} images ({_share(sizes.min() / len(train))})"
    largest = [f"{name!r}: {size:,} images" for name, size in sizes.head(MOST_LISTED).items()]
    raise UserError(
        f"cannot draw a {into} split of {_share(share)} of {len(train):,} images without "
        f"dividing a {what}: {nearest}. {remedy} Or change dataset.split.{into}. The largest of "
        f"{len(sizes):,}:\n{bullet_list(largest)}"
    )


def _group_of(train: pd.DataFrame, label: object) -> str:
    return str(train.loc[train["label"] == label, "split_group"].iloc[0])


def _unit(split: Split, into: str) -> tuple[str, str]:
    """Return the noun for what a split may not divide, and what to do if there are too few."""
    if split.group is None:
        what, remedy = "image", "Add images, or leave out these classes."
    elif split.group == NEAR_DUPLICATES:
        what = "group of near-duplicates"
        remedy = "Add images, or raise dataset.split.near_duplicate_similarity."
    else:
        what = f"group of dataset.split.group = {split.group!r}"
        remedy = "Add images of other groups, or choose smaller groups."
    if into == "validation":
        remedy += " dataset.split.validation=0 trains without validation."
    return what, remedy


def _share(share: float) -> str:
    """Return a share as a percentage, such as "20 %"."""
    return f"{100 * share:.3g} %"


def _reject_divided(index: pd.DataFrame, split: Split) -> None:
    assigned = index[index["split"] != ""]
    splits = assigned.groupby("split_group")["split"].nunique()
    divided = assigned[assigned["split_group"].isin(splits[splits > 1].index)]
    if split.group is None or divided.empty:
        return
    lines = []
    for name, rows in divided.sort_values("path").groupby("split_group"):
        firsts = rows.drop_duplicates("split")
        paths = " and ".join(firsts["path"].map(original_path))
        lines.append(paths if split.group == NEAR_DUPLICATES else f"{name}: {paths}")
    raise UserError(
        f"{len(lines):,} groups of dataset.split.group = {split.group!r} are in two splits of the "
        f"source, which makes test results too optimistic. Move the images of each group into one "
        f"split. Or put all images into one folder for each class, so that the splits are drawn. "
        f"dataset.split.group=null accepts the splits as they are.\n{bullet_list(lines)}"
    )
