"""Assign images to the train, validation and test splits."""

import pandas as pd
from sklearn.model_selection import train_test_split

from thaw.config.dataset import Split
from thaw.errors import UserError


def assign_splits(index: pd.DataFrame, split: Split) -> pd.Series:
    """Return the split of each row of `index`: train, validation or test.

    Splits of the source are kept. If the source has only train and validation, its validation
    images become the test data, so that no choice is ever made on test data. Missing splits are
    drawn at random from the training images, stratified by the columns `split.stratify`. Identical
    images (column `pixel_sha256`) stay together. The result depends only on the content of the
    files, not on their names, their order or the size to which they are decoded.

    Args:
        index: Columns sha256 (of the file), path, label, pixel_sha256, split ("" if the source has
            none) and those to stratify by. No image is in two splits (thaw/data/consistency.py).
        split: Shares of the splits, stratification and seed.

    Raises:
        UserError: A class is too small, or a column to
            stratify by does not exist.
    """
    source_splits = index["split"].copy()
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
        _draw(split_of, images, "test", split.test, split.seed)
    if not (source_splits == "validation").any() and split.validation:
        _draw(split_of, images, "validation", split.validation, split.seed)
    return index["pixel_sha256"].map(split_of)


def beyond_limit(index: pd.DataFrame, splits: pd.Series, limit: int, split: Split) -> pd.Series:
    """Return which training images `dataset.max_train_images` excludes.

    The remaining images keep the proportions of the columns `split.stratify`. A larger limit keeps
    the images of a smaller one and adds others. Like `assign_splits`, this depends only on the
    content of the files.

    Args:
        index: As for `assign_splits`.
        splits: The split of each row.
        limit: Number of training images to keep.
        split: Stratification and seed.

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
    columns = ["sha256", *sorted(train.columns.difference(["sha256", "path"]))]
    shuffled = train.sort_values(columns).sample(frac=1, random_state=split.seed)
    # order all images by their relative position in their stratum, to keep the proportions
    if split.stratify:
        strata = shuffled.groupby(split.stratify, dropna=False)["sha256"]
    else:
        strata = shuffled.groupby(lambda _: 0)["sha256"]
    position = (strata.cumcount() + 0.5) / strata.transform("size")
    queue = position.sort_values(kind="stable").index
    if missing := set(train["label"]) - set(train.loc[queue[:limit], "label"]):
        first = train.loc[queue, "label"].drop_duplicates(keep="first").index
        smallest = max(queue.get_indexer(first)) + 1
        raise UserError(
            f"dataset.max_train_images = {limit} leaves no training image of "
            f"{', '.join(sorted(missing))}. Expected at least {smallest}."
        )
    return pd.Series(index.index.isin(queue[limit:]), index.index)


def _draw(split_of: pd.Series, images: pd.DataFrame, into: str, share: float, seed: int) -> None:
    """Move a stratified random share of the training images to another split, in place."""
    if not share:
        raise UserError(
            f"dataset.split.{into} = 0, but the source has no {into} images. Expected a share "
            f"above 0."
        )
    train = images[split_of.reindex(images["pixel_sha256"]).to_numpy() == "train"]
    try:
        _, drawn = train_test_split(
            train["pixel_sha256"].to_numpy(),
            test_size=share,
            random_state=seed,
            stratify=train["stratum"],
        )
    except ValueError as error:
        smallest = train["stratum"].value_counts().tail(3)
        counts = ", ".join(f"{name!r} {count}" for name, count in smallest.items())
        raise UserError(
            f"cannot draw a {into} split of {share:g} from {len(train)} images: {error} "
            f"The smallest strata of dataset.split.stratify: {counts}. Add images to them, raise "
            f"dataset.split.{into}, or stratify by fewer columns."
        ) from None
    split_of.loc[drawn] = into
