"""Read data/split.csv for training and evaluation."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.errors import UserError
from thaw.storage.dvc import verify_outputs
from thaw.storage.tables import RESTORE_HINT, SPLIT_COLUMNS, SPLIT_GROUP, read_table

NOT_USED = ["skipped", "unused", "unlabelled"]  # neither trained on nor evaluated
SPLITS = {"train", "validation", "test", *NOT_USED}


class SplitTable:
    """The images of data/split.csv that belong to a split.

    Args:
        path: The table.
        confidence_weight: `dataset.confidence_weight`. False replaces all confidences by NaN.

    Attributes:
        table: One row for each image, with columns pixel_sha256, label, class, group, confidence,
            split and split_group. Images of one split_group stay together; without
            `dataset.split.group` they are those with the same pixels.
        grouped: Whether `dataset.split.group` was set.
        classes: The labels in the order of their class numbers.
        skipped: The number of images that could not be read.

    Raises:
        UserError: The table was modified, or contains an invalid value.
    """

    def __init__(self, path: str | Path = "data/split.csv", confidence_weight: bool = True) -> None:
        verify_outputs(path)
        images = read_table(
            path,
            SPLIT_COLUMNS,
            dtype={  # a class may be named None
                name: str for name in ("label", "group", "pixel_sha256", SPLIT_GROUP)
            },
            na_values={name: [""] for name in ("class", "group", "confidence")},
        )
        self._digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if unknown := set(images["split"].astype(str)) - SPLITS:
            raise UserError(
                f"{path}: split = {min(unknown)!r:.100}: expected one of "
                f"{', '.join(sorted(SPLITS))}. {RESTORE_HINT}"
            )
        used = ~images["split"].isin(NOT_USED)
        try:
            self.table = images[used].astype({"class": "int64", "confidence": "float64"})
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(
                f"{path}: a class or confidence is not a number: {error}. {RESTORE_HINT}"
            ) from None
        self.grouped = SPLIT_GROUP in images
        if not self.grouped:
            self.table[SPLIT_GROUP] = self.table["pixel_sha256"]
        if divided := divided_groups(self.table):
            raise UserError(
                f"{path}: {len(divided):,} groups are in two splits, such as {divided[0]!r:.100}. "
                f"{RESTORE_HINT}"
            )
        if not confidence_weight:
            self.table["confidence"] = np.nan
        self.skipped = int((images["split"] == "skipped").sum())
        numbered = self.table[["class", "label"]].drop_duplicates().sort_values("class")
        if numbered["class"].tolist() != list(range(len(numbered))):
            raise UserError(
                f"{path}: expected the classes 0 to n - 1, each with exactly one label. "
                f"{RESTORE_HINT}"
            )
        self.classes = numbered["label"].tolist()

    def digest(self) -> str:
        """Return the SHA-256 of the file, for the recipe of a training."""
        return self._digest

    def of(self, split: str) -> pd.DataFrame:
        """Return the rows of train, validation or test, indexed from 0."""
        return self.table[self.table["split"] == split].reset_index(drop=True)


def divided_groups(table: pd.DataFrame) -> list[str]:
    """Return the groups whose images are in more than one split. There should be none.

    Args:
        table: Columns split and split_group.
    """
    splits = table.groupby(SPLIT_GROUP)["split"].nunique()
    return sorted(splits[splits > 1].index)


def sample_weights(rows: pd.DataFrame, class_weight: str) -> np.ndarray:
    """Return the weight of each training image in the loss.

    Args:
        rows: Columns class and confidence (of the label; NaN where it is unknown, which counts 1).
        class_weight: `balanced` gives every class the same total, as in scikit-learn.

    Returns:
        Weights (n,), float32, with mean 1.
    """
    weight = rows["confidence"].fillna(1.0).to_numpy("float32", copy=True)
    if class_weight == "balanced":
        totals = np.bincount(rows["class"], weight)
        weight *= (weight.sum() / (len(totals) * totals))[rows["class"]]
    return weight / weight.mean()


def join_paths(split: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame | None:
    """Add the columns path and sha256 of data/index.csv to the rows of data/split.csv.

    Args:
        split: All rows of data/split.csv, also of images that are not used.
        index: All rows of data/index.csv, with all columns as text.

    Returns:
        The joined table, or None if the two tables are not from the same run.
    """
    # the order in which stage split writes its rows
    ordered = pd.concat([index[index["problem"] == ""], index[index["problem"] != ""]])
    ordered = ordered.sort_values(["pixel_sha256", "label", "sha256"])
    if ordered["pixel_sha256"].tolist() != split["pixel_sha256"].tolist():
        return None
    paths = {name: ordered[name].tolist() for name in ("path", "sha256")}
    return split.assign(**paths).reset_index(drop=True)
