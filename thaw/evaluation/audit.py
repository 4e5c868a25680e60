"""Audit the data by cached features: label errors, outliers, near-duplicates, confused classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thaw.config.audit import Audit
from thaw.data.duplicates import normalize
from thaw.data.raw import original_path
from thaw.data.split_table import NOT_USED, SplitTable, join_paths
from thaw.errors import UserError
from thaw.evaluation.label_errors import (
    label_quality,
    near_duplicate_pairs,
    out_of_fold,
    outlier_distances,
    overlapping_classes,
    similarity_to_training,
)
from thaw.evaluation.learning_curve import learning_curve
from thaw.models.logistic import pooled
from thaw.storage.arrays import ArrayFolder
from thaw.storage.dvc import verify_outputs
from thaw.storage.tables import INDEX_COLUMNS, RESTORE_HINT, SPLIT_COLUMNS, read_table

IMAGE_COLUMNS = [
    "path",
    "split",
    "label",
    "suggested",
    "probability",
    "likely_error",
    "distance",
    "outlier",
    "training_similarity",
    "pixel_sha256",
]


@dataclass
class AuditResult:
    """The tables of an audit.

    Attributes:
        images: a row for each image of train, validation and test, the least probable label first.
            `probability` is that of the image's label and `suggested` the most probable class,
            predicted from other images. `distance` is the mean cosine distance to the nearest
            images. `training_similarity` is the cosine similarity of a validation or test image
            to the most similar training image.
        pairs: near-duplicates in different splits.
        classes: pairs of classes that are confused with each other.
        learning_curve: accuracy by training-set size.
        summary: counts and settings, the content of summary.json.
    """

    images: pd.DataFrame
    pairs: pd.DataFrame
    classes: pd.DataFrame
    learning_curve: pd.DataFrame
    summary: dict[str, Any]


def audit_data(
    parameters: Audit, rows: SplitTable, features: ArrayFolder, seed: int
) -> AuditResult:
    """Audit every label, image and pair of classes by cached features.

    Args:
        parameters: of the audit.
        rows: the split.
        features: of the backbone that the audit reads.
        seed: for folds and random training sets.

    Raises:
        UserError: data/split.csv and data/index.csv do not belong together.
    """
    images = _with_paths(rows)
    inputs = pooled(features.select(images["pixel_sha256"]), "average").astype("float32")
    vectors = normalize(inputs)
    probabilities = out_of_fold(images, inputs, parameters, seed)
    images["distance"], fence = outlier_distances(
        vectors, images["pixel_sha256"].tolist(), parameters
    )
    compared, near_count, near = near_duplicate_pairs(images, vectors, parameters)
    images["training_similarity"] = similarity_to_training(images, vectors, parameters)
    curve, measured, measured_count = learning_curve(images, inputs, parameters, seed)
    images = images.join(label_quality(images, probabilities, rows.classes))
    images["outlier"] = images["distance"] > fence
    summary = {
        "classes": rows.classes,
        "images": len(images),
        "likely_errors": {
            split: int(images.loc[images["split"] == split, "likely_error"].sum())
            for split in ("train", "validation", "test")
        },
        "not_judged": int(images["probability"].isna().sum()),
        "outliers": int(images["outlier"].sum()),
        "near_duplicate_pairs": near_count,
        "images_compared": compared,
        "measured_on": measured,
        "measured": measured_count,
        "settings": {**parameters.model_dump(), "seed": seed},
    }
    order = images.sort_values(
        ["probability", "distance", "pixel_sha256"], ascending=[True, False, True]
    )
    return AuditResult(
        images=order[IMAGE_COLUMNS],
        pairs=_pairs_table(images, near),
        classes=overlapping_classes(images, probabilities, rows.classes),
        learning_curve=curve,
        summary=summary,
    )


def _with_paths(rows: SplitTable) -> pd.DataFrame:
    """Return the rows of the split with each image's original path."""
    verify_outputs("data/index.csv")
    index = read_table("data/index.csv", INDEX_COLUMNS, dtype=str)
    split = read_table("data/split.csv", SPLIT_COLUMNS, dtype=str)
    joined = join_paths(split, index)
    if joined is None:
        raise UserError(f"data/split.csv and data/index.csv list different images. {RESTORE_HINT}")
    used = joined[~joined["split"].isin(NOT_USED)].reset_index(drop=True)
    paths = [original_path(path) for path in used["path"]]
    return rows.table.reset_index(drop=True).assign(path=paths)


def _pairs_table(images: pd.DataFrame, near: list[tuple[int, int, float]]) -> pd.DataFrame:
    columns = ["path", "split", "label", "pixel_sha256"]
    one, other = ([pair[side] for pair in near] for side in (0, 1))
    sides = [
        images[columns].iloc[numbers].reset_index(drop=True).add_prefix(prefix)
        for numbers, prefix in ((one, "one_"), (other, "other_"))
    ]
    return pd.concat(sides, axis=1).assign(cosine=np.array([pair[2] for pair in near], float))
