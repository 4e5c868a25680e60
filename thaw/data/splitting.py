"""Which image is for training, for choosing and for the last word."""

import pandas as pd
from sklearn.model_selection import train_test_split

from thaw.config.dataset import Split
from thaw.data.raw import original_path
from thaw.errors import UserError, bullet_list


def assign_splits(index: pd.DataFrame, split: Split) -> pd.Series:
    """The split of each row of `index`: train, validation or test.

    Splits that the source made stay, but where it made only train and validation, its validation
    images are the test data and a new validation split is carved from train, so that no choice is
    ever made on test data. What is missing is carved by scikit-learn, keeping the mixture of
    `split.stratify`'s columns; equal pictures (column `pixel_sha256`) stay together. What is drawn
    depends on the files' content alone: names, order and the size of decoding play no part.

    Args:
        index: columns sha256 (of the file), label, pixels, split (empty where the source made
            none) and those to stratify by.

    Raises:
        UserError: one picture is in two splits that the source made, or a class is too small.
    """
    made = index["split"].copy()
    _refuse_leaks(index)
    if "test" not in set(made):
        made = made.replace("validation", "test")
    for column in split.stratify:
        if column not in index:
            raise UserError(
                f"dataset.split.stratify = {split.stratify}: the index has no column {column!r}. "
                f"Expected some of {', '.join(index.columns)}."
            )
    # equal pictures stand where the first of their files does
    pictures = index.assign(made=made).sort_values(["sha256", *split.stratify])
    pictures = pictures.drop_duplicates("pixel_sha256")
    names = pictures[split.stratify].astype(str).agg("|".join, axis=1) if split.stratify else None
    pictures["stratum"] = names if split.stratify else ""
    chosen = pictures.set_index("pixel_sha256")["made"].replace("", "train")
    if not (made == "test").any():
        _move(chosen, pictures, "test", split.test, split.seed)
    if not (made == "validation").any() and split.validation:
        _move(chosen, pictures, "validation", split.validation, split.seed)
    return index["pixel_sha256"].map(chosen)


def beyond_limit(index: pd.DataFrame, made: pd.Series, limit: int, split: Split) -> pd.Series:
    """Which training images a limit leaves out: True for those.

    Those that stay keep the mixture of `split.stratify`'s columns, and a larger limit keeps them
    and adds others. Drawn by content alone, as in `carve`.

    Args:
        index: as for `carve`.
        made: the split of each row.
        limit: of training images.

    Raises:
        UserError: there are fewer, or it leaves a class without any.
    """
    free = index[made == "train"]
    if limit > len(free):
        raise UserError(
            f"dataset.max_train_images = {limit}: expected at most {len(free)}, the number of training images."
        )
    columns = ["sha256", *sorted(free.columns.difference(["sha256", "path"]))]
    drawn = free.sort_values(columns).sample(frac=1, random_state=split.seed)
    # an image stands in the queue where it stands in its stratum: the first halves of all first
    if split.stratify:
        strata = drawn.groupby(split.stratify, dropna=False)["sha256"]
    else:
        strata = drawn.groupby(lambda _: 0)["sha256"]
    place = (strata.cumcount() + 0.5) / strata.transform("size")
    queue = place.sort_values(kind="stable").index
    if lacking := set(free["label"]) - set(free.loc[queue[:limit], "label"]):
        first = free.loc[queue, "label"].drop_duplicates(keep="first").index
        least = max(queue.get_indexer(first)) + 1
        raise UserError(
            f"dataset.max_train_images = {limit}: no training image of {', '.join(sorted(lacking))} would be "
            f"left. Expected at least {least}."
        )
    return pd.Series(index.index.isin(queue[limit:]), index.index)


def _move(chosen: pd.Series, pictures: pd.DataFrame, into: str, share: float, seed: int) -> None:
    """Move a stratified share of the training pictures to another split, in place."""
    if not share:
        raise UserError(
            f"dataset.split.{into} = 0: expected more, there is no {into} data without."
        )
    free = pictures[chosen.reindex(pictures["pixel_sha256"]).to_numpy() == "train"]
    try:
        _, moved = train_test_split(
            free["pixel_sha256"].to_numpy(),
            test_size=share,
            random_state=seed,
            stratify=free["stratum"],
        )
    except ValueError as error:
        smallest = free["stratum"].value_counts().tail(3)
        counts = ", ".join(f"{name!r} {count}" for name, count in smallest.items())
        raise UserError(
            f"no {into} split of {share:g} can be carved from {len(free)} pictures: {error} "
            f"The smallest groups by dataset.split.stratify: {counts}. Add images to them, raise "
            f"dataset.split.{into}, or stratify by less."
        ) from None
    chosen.loc[moved] = into


def _refuse_leaks(index: pd.DataFrame) -> None:
    made = index[index["split"] != ""]
    splits = made.groupby("pixel_sha256")["split"].nunique()
    leaks = made[made["pixel_sha256"].isin(splits[splits > 1].index)].sort_values(
        ["pixel_sha256", "path"]
    )
    if len(leaks):
        theirs = leaks["path"].map(original_path)
        groups = [" = ".join(paths) for _, paths in theirs.groupby(leaks["pixel_sha256"])]
        raise UserError(
            f"{len(groups)} pictures are in two splits, so test results would flatter. Remove one "
            f"of each:\n{bullet_list(groups)}"
        )
