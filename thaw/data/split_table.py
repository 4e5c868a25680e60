"""The split as training stages read it."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.errors import UserError
from thaw.storage.dvc import verify_outputs
from thaw.storage.tables import RESTORE_HINT, SPLIT_COLUMNS, read_table

SPLITS = {"train", "validation", "test", "skipped", "unused"}


class SplitTable:
    """The rows of data/split.csv.

    Attributes:
        table: one row an image, with columns pixels, label, class, group, confidence, split.
        classes: the labels in the order of their numbers.
    """

    def __init__(self, path: str | Path = "data/split.csv", confidence_weight: bool = True):
        verify_outputs(path)
        held = read_table(
            path,
            SPLIT_COLUMNS,
            dtype={"label": str, "group": str, "pixel_sha256": str},  # a class may be called None
            na_values={name: [""] for name in ("class", "group", "confidence")},
        )
        self._digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if strange := set(held["split"].astype(str)) - SPLITS:
            raise UserError(
                f"{path}: split = {min(strange)!r:.100}: expected one of "
                f"{', '.join(sorted(SPLITS))}. {RESTORE_HINT}"
            )
        used = ~held["split"].isin(["skipped", "unused"])
        try:
            self.table = held[used].astype({"class": "int64", "confidence": "float64"})
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(
                f"{path}: a class or confidence is no number: {error}. {RESTORE_HINT}"
            ) from None
        if not confidence_weight:
            self.table["confidence"] = np.nan
        self.skipped = int((held["split"] == "skipped").sum())
        numbered = self.table[["class", "label"]].drop_duplicates().sort_values("class")
        if numbered["class"].tolist() != list(range(len(numbered))):
            raise UserError(
                f"{path}: expected the classes 0 to n - 1, each with one label of its own. {RESTORE_HINT}"
            )
        self.classes = numbered["label"].tolist()

    def digest(self) -> str:
        """Of the whole split, for the recipe of a training."""
        return self._digest

    def of(self, split: str) -> pd.DataFrame:
        """The rows of train, validation or test, numbered from 0."""
        return self.table[self.table["split"] == split].reset_index(drop=True)


def sample_weights(rows: pd.DataFrame, class_weight: str) -> np.ndarray:
    """Return how much each training row counts in the loss: (N,), float32, mean 1.

    Args:
        rows: columns class and confidence of the label (NaN where it is unknown).
        class_weight: `balanced` gives every class the same total, as in scikit-learn.
    """
    weight = rows["confidence"].fillna(1.0).to_numpy("float32", copy=True)
    if class_weight == "balanced":
        totals = np.bincount(rows["class"], weight)
        weight *= (weight.sum() / (len(totals) * totals))[rows["class"]]
    return weight / weight.mean()


def join_paths(split: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of data/split.csv with the columns path and sha256 of data/index.csv; none where the
    two are not of one run.

    Args:
        split: as read, with its rows of images that are unused or skipped.
        index: as read, all columns as text.
    """
    # stage split wrote its rows in this order
    ordered = pd.concat([index[index["problem"] == ""], index[index["problem"] != ""]])
    ordered = ordered.sort_values(["pixel_sha256", "label", "sha256"])
    if ordered["pixel_sha256"].tolist() != split["pixel_sha256"].tolist():
        return None
    paths = {name: ordered[name].tolist() for name in ("path", "sha256")}
    return split.assign(**paths).reset_index(drop=True)
