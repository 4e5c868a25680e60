"""Find label errors, outliers, near-duplicates and confused classes by cached features."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from cleanlab.dataset import find_overlapping_classes
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from thaw.config.audit import Audit
from thaw.data.duplicates import nearest_neighbors, pairs_across_splits
from thaw.data.folds import GroupFolds
from thaw.data.split_table import sample_weights
from thaw.models import logistic
from thaw.storage.tables import SPLIT_GROUP

LEAST = 2  # different images or groups of a class in train and validation, to judge its labels
FENCE = 3  # interquartile ranges beyond the third quartile: Tukey's outer fence for outliers
MOST_PAIRS, MOST_CLASSES = 1000, 200  # rows of pairs.csv and classes.csv; more are not read


def fit_probabilities(
    inputs: np.ndarray, rows: pd.DataFrame, parameters: Audit, classes: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a logistic regression, with labels weighted by their confidence if it is known.

    Args:
        inputs: features (m, channels) to fit on.
        rows: their rows of the split.
        parameters: of the audit.
        classes: number of all classes.

    Returns:
        A function from features (n, channels) to probabilities (n, classes), which are 0 for
        classes that `rows` lack.
    """
    weight = sample_weights(rows, "none")
    labels = rows["class"].to_numpy()
    model = logistic.fit(inputs, labels, weight, parameters.C, parameters.max_iter)
    present = np.unique(labels)

    def probabilities(features: np.ndarray) -> np.ndarray:
        predicted = np.zeros((len(features), classes))
        predicted[:, present] = logistic.predict(model, features)
        return predicted

    return probabilities


def out_of_fold(
    images: pd.DataFrame, inputs: np.ndarray, parameters: Audit, seed: int
) -> np.ndarray:
    """Predict each image by logistic regressions that were fitted without it.

    For a training or validation image that is the regression without its fold; a group of images
    is in one fold. For a test image it is the mean of all regressions, which never see test images.

    Args:
        images: n rows with columns class, split, split_group and confidence.
        inputs: their features (n, channels).
        parameters: of the audit.
        seed: for the folds.

    Returns:
        Probabilities (n, classes); NaN for images of a class with fewer than LEAST groups in train
        and validation, or whose class no other fold has.
    """
    count = int(images["class"].max()) + 1
    predicted = np.full((len(images), count), np.nan)
    free = images["split"].isin(["train", "validation"])
    different = images[free].groupby("class")[SPLIT_GROUP].nunique()
    judged = images["class"].isin(different[different >= LEAST].index).to_numpy()
    own = np.flatnonzero(free.to_numpy() & judged)
    others = np.flatnonzero(~free.to_numpy() & judged)
    if images["class"].iloc[own].nunique() < 2:
        return predicted
    rows = images.iloc[own].reset_index(drop=True)
    usual = int(different[different >= LEAST].median())  # a single rare class makes no fewer folds
    folds = GroupFolds(min(parameters.folds, usual), shuffle=True, random_state=seed)
    of_others = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = list(folds.split(own, rows["class"], rows[SPLIT_GROUP]))
    for train, rest in parts:
        learned = rows["class"].iloc[train].unique()
        if len(learned) < 2 or not len(rest):
            continue
        probabilities = fit_probabilities(inputs[own[train]], rows.iloc[train], parameters, count)
        known = rest[rows["class"].iloc[rest].isin(learned)]
        predicted[own[known]] = probabilities(inputs[own[known]])
        of_others.append(probabilities(inputs[others]))
    if of_others:
        predicted[others] = np.mean(of_others, axis=0)
    return predicted


def label_quality(
    images: pd.DataFrame, probabilities: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    """Flag likely label errors by confident learning (Northcutt et al. 2021, with cleanlab).

    Args:
        images: n rows with a column class.
        probabilities: (n, classes), from `out_of_fold`.
        classes: their labels.

    Returns:
        A table with the columns `suggested`, the most probable class, `probability`, that of the
        image's label, and `likely_error`; empty, NaN and False where `probabilities` are NaN.
    """
    quality = pd.DataFrame(
        {"suggested": "", "probability": np.nan, "likely_error": False}, images.index
    )
    known, labels, normalized = _known(images, probabilities)
    if not len(known):
        return quality
    flagged = find_label_issues(labels, normalized, n_jobs=1)
    rows = images.index[known]
    best = probabilities[known].argmax(axis=1)
    quality.loc[rows, "suggested"] = [classes[number] for number in best]
    quality.loc[rows, "probability"] = get_label_quality_scores(labels, normalized)
    quality.loc[rows, "likely_error"] = flagged & (best != images["class"].to_numpy()[known])
    return quality


def overlapping_classes(
    images: pd.DataFrame, probabilities: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    """Find pairs of classes that are confused with each other. Args are those of `label_quality`.

    Returns:
        A table, most overlapping first: `one` and `other`, the labels; `images`, how many seem to
        belong to both; `told_apart`, the share of images of both classes that are more probable in
        their own class than in the other. Both classes weigh the same, so 0.5 is chance.
    """
    columns = ["one", "other", "images", "told_apart"]
    known, labels, normalized = _known(images, probabilities)
    if not len(known):
        return pd.DataFrame(columns=columns)
    present = np.unique(images["class"].to_numpy()[known])
    table = find_overlapping_classes(labels, normalized).head(MOST_CLASSES)
    pairs = []
    for a, b, count in table[
        ["Class Index A", "Class Index B", "Num Overlapping Examples"]
    ].itertuples(index=False):
        shares = [
            (normalized[labels == own, own] > normalized[labels == own, rival]).mean()
            for own, rival in ((a, b), (b, a))
        ]
        if count:
            one, other = sorted((classes[present[a]], classes[present[b]]))
            pairs.append((one, other, int(count), round(float(np.mean(shares)), 4)))
    return pd.DataFrame(pairs, columns=columns)


def _known(
    images: pd.DataFrame, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows that have probabilities, their labels renumbered without gaps, and their
    probabilities of those classes, which sum to 1. All are empty if there is only one class.
    """
    known = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    present, labels = np.unique(images["class"].to_numpy()[known], return_inverse=True)
    if len(present) < 2:
        return known[:0], labels[:0], probabilities[:0]
    part = probabilities[known][:, present]
    return known, labels, part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12)


def outlier_distances(
    vectors: np.ndarray, keys: list[str], parameters: Audit
) -> tuple[np.ndarray, float]:
    """Measure how far each image is from its nearest other images.

    Args:
        vectors: (n, channels), of length 1.
        keys: pixel hashes; identical images count as one.
        parameters: of the audit.

    Returns:
        The mean cosine distance (n,) to the nearest images, and the distance beyond which an image
        is an outlier.
    """
    _, first, positions = np.unique(keys, return_index=True, return_inverse=True)
    sample = evenly_spaced(len(first), parameters.max_images)
    count = min(parameters.k, len(sample) - 1)
    if count < 1:
        return np.zeros(len(vectors)), np.inf
    _, cosines = nearest_neighbors(vectors[first], vectors[first[sample]], count + 1)
    within = np.isin(np.arange(len(first)), sample)  # their nearest image is themselves
    far = 1 - np.where(within, cosines[:, 1:].mean(axis=1), cosines[:, :count].mean(axis=1))
    far = np.maximum(far, 0)
    low, high = np.quantile(far, [0.25, 0.75])
    return far[positions], float(high + FENCE * (high - low))


def near_duplicate_pairs(
    images: pd.DataFrame, vectors: np.ndarray, parameters: Audit
) -> tuple[int, int, list[tuple[int, int, float]]]:
    """Find near-duplicates in different splits.

    Args:
        images: n rows with columns split and pixel_sha256.
        vectors: (n, channels), of length 1.
        parameters: of the audit.

    Returns:
        How many different images were compared, how many pairs were found, and the up to MOST_PAIRS
        most similar ones as (row number, row number, cosine similarity).
    """
    first = np.flatnonzero(~images["pixel_sha256"].duplicated())
    first = first[evenly_spaced(len(first), parameters.max_images)]
    splits = images["split"].to_numpy()[first]
    count, pairs = pairs_across_splits(
        vectors[first], splits, parameters.near_duplicate_similarity, MOST_PAIRS
    )
    near = [
        (int(first[a]), int(first[b]), cosine)
        for a, b, cosine in pairs
        if cosine >= parameters.near_duplicate_similarity
    ]
    return len(first), count, near


def similarity_to_training(
    images: pd.DataFrame, vectors: np.ndarray, parameters: Audit
) -> np.ndarray:
    """Measure how similar validation and test images are to images that models learn from.

    Validation images are compared with training images, test images with both, at most
    `max_images` of them.

    Args:
        images: n rows with a column split.
        vectors: (n, channels), of length 1.
        parameters: of the audit.

    Returns:
        The largest cosine similarity (n,); NaN for training images, or without images to compare.
    """
    splits = images["split"].to_numpy()
    similarity = np.full(len(images), np.nan)
    for split, learnt in (("validation", ["train"]), ("test", ["train", "validation"])):
        own, others = np.flatnonzero(splits == split), np.flatnonzero(np.isin(splits, learnt))
        if len(own) and len(others):
            sample = others[evenly_spaced(len(others), parameters.max_images)]
            similarity[own] = nearest_neighbors(vectors[own], vectors[sample], 1)[1][:, 0]
    return similarity


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Return up to `most` numbers below `count`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
