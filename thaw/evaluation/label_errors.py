"""Doubts about data by cached features: labels that others contradict, images unlike most others,
images that stand in two splits, classes that are taken for each other."""

import numpy as np
import pandas as pd
from cleanlab.dataset import find_overlapping_classes
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.model_selection import StratifiedGroupKFold

from thaw.config.audit import Audit
from thaw.data.duplicates import nearest_neighbors, pairs_across_splits
from thaw.data.split_table import sample_weights
from thaw.models import logistic

LEAST = 2
"""Different images of a class in train and validation, without which its labels are not judged."""
FENCE = 3
"""An outlier is so many interquartile ranges beyond the third quartile (Tukey's far out)."""
MOST_PAIRS, MOST_CLASSES = 1000, 200


def fit_probabilities(inputs: np.ndarray, rows: pd.DataFrame, parameters: Audit, classes: int):
    """A function from features (n, channels) to probabilities (n, classes), 0 of classes that
    `rows` lack. Labels count by their confidence, where that is known."""
    weight = sample_weights(rows, "none")
    labels = rows["class"].to_numpy()
    model = logistic.fit(inputs, labels, weight, parameters.C, parameters.max_iter)
    present = np.unique(labels)

    def probabilities(given: np.ndarray) -> np.ndarray:
        made = np.zeros((len(given), classes))
        made[:, present] = logistic.predict(model, given)
        return made

    return probabilities


def out_of_fold(
    images: pd.DataFrame, inputs: np.ndarray, parameters: Audit, seed: int
) -> np.ndarray:
    """The classes' probabilities (n, classes) of each image by regressions that have not seen it.

    Images of train and validation are judged without their fold, in which equal pictures stand
    together; test images by the mean of all, since they train nothing here either. NaN where the
    class has under LEAST different images to learn from.
    """
    count = int(images["class"].max()) + 1
    made = np.full((len(images), count), np.nan)
    free = images["split"].isin(["train", "validation"])
    different = images[free].groupby("class")["pixel_sha256"].nunique()
    judged = images["class"].isin(different[different >= LEAST].index).to_numpy()
    own = np.flatnonzero(free.to_numpy() & judged)
    others = np.flatnonzero(~free.to_numpy() & judged)
    if images["class"].iloc[own].nunique() < 2:
        return made
    rows = images.iloc[own].reset_index(drop=True)
    folds = StratifiedGroupKFold(
        min(parameters.folds, int(different[different >= LEAST].min())),
        shuffle=True,
        random_state=seed,
    )
    told = []
    for train, rest in folds.split(own, rows["class"], rows["pixel_sha256"]):
        if rows["class"].iloc[train].nunique() < 2:
            continue
        probabilities = fit_probabilities(inputs[own[train]], rows.iloc[train], parameters, count)
        made[own[rest]] = probabilities(inputs[own[rest]])
        told.append(probabilities(inputs[others]))
    if told:
        made[others] = np.mean(told, axis=0)
    return made


def label_quality(
    images: pd.DataFrame, probabilities: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    """Columns `suggested`, `probability` (of the label it has) and `likely_error`, by confident learning
    (Northcutt et al. 2021, as cleanlab has it); empty where `probabilities` are NaN.

    Args:
        images: n rows with a column class.
        probabilities: (n, classes), out of fold.
    """
    told = pd.DataFrame(
        {"suggested": "", "probability": np.nan, "likely_error": False}, images.index
    )
    known, labels, sure = _known(images, probabilities)
    if not len(known):
        return told
    suspect = find_label_issues(labels, sure, n_jobs=1)
    rows = images.index[known]
    best = probabilities[known].argmax(axis=1)
    told.loc[rows, "suggested"] = [classes[number] for number in best]
    told.loc[rows, "probability"] = get_label_quality_scores(labels, sure)
    told.loc[rows, "likely_error"] = suspect & (best != images["class"].to_numpy()[known])
    return told


def overlapping_classes(
    images: pd.DataFrame, probabilities: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    """Pairs of classes that are taken for each other, most first: one, other, `images` that seem to
    belong to both, `told_apart`, the share of both classes' images whose own class is the likelier
    of the two (0.5 is chance, classes weighing the same)."""
    columns = ["one", "other", "images", "told_apart"]
    known, labels, sure = _known(images, probabilities)
    if not len(known):
        return pd.DataFrame(columns=columns)
    present = np.unique(images["class"].to_numpy()[known])
    table = find_overlapping_classes(labels, sure).head(MOST_CLASSES)
    found = []
    for a, b, count in table[
        ["Class Index A", "Class Index B", "Num Overlapping Examples"]
    ].itertuples(index=False):
        right = [
            (sure[labels == own, own] > sure[labels == own, rival]).mean()
            for own, rival in ((a, b), (b, a))
        ]
        if count:
            one, other = sorted((classes[present[a]], classes[present[b]]))
            found.append((one, other, int(count), round(float(np.mean(right)), 4)))
    return pd.DataFrame(found, columns=columns)


def _known(images: pd.DataFrame, probabilities: np.ndarray):
    """Which rows were judged, their labels numbered anew without gaps, and the probabilities of
    those classes."""
    known = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    present, labels = np.unique(images["class"].to_numpy()[known], return_inverse=True)
    if len(present) < 2:
        return known[:0], labels[:0], probabilities[:0]
    sure = probabilities[known][:, present]
    return known, labels, sure / np.maximum(sure.sum(axis=1, keepdims=True), 1e-12)


def outlier_distances(
    vectors: np.ndarray, keys: list[str], parameters: Audit
) -> tuple[np.ndarray, float]:
    """How far each image is from its nearest others: the mean of 1 - cosine (n,), and from where on
    that is called an outlier.

    Args:
        vectors: (n, channels), of length 1.
        keys: the identity of each one's pixels; equal pictures are one.
    """
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    some = evenly_spaced(len(first), parameters.max_images)
    among = vectors[first[some]]
    count = min(parameters.k, len(some) - 1)
    if count < 1:
        return np.zeros(len(vectors)), np.inf
    _, cosines = nearest_neighbors(vectors[first], among, count + 1)
    within = np.isin(np.arange(len(first)), some)  # the most like these is itself
    far = 1 - np.where(within, cosines[:, 1:].mean(axis=1), cosines[:, :count].mean(axis=1))
    far = np.maximum(far, 0)
    low, high = np.quantile(far, [0.25, 0.75])
    return far[places], float(high + FENCE * (high - low))


def near_duplicate_pairs(
    images: pd.DataFrame, vectors: np.ndarray, parameters: Audit
) -> tuple[int, int, list]:
    """How many images were compared, how many pairs of different images in different splits are
    nearly the same, and the most alike of these: (row, row, cosine), row numbers of `images`."""
    first = np.flatnonzero(~images["pixel_sha256"].duplicated())
    first = first[evenly_spaced(len(first), parameters.max_images)]
    splits = images["split"].to_numpy()[first]
    count, found = pairs_across_splits(
        vectors[first], splits, parameters.near_duplicate_similarity, MOST_PAIRS
    )
    near = [
        (int(first[a]), int(first[b]), cosine)
        for a, b, cosine in found
        if cosine >= parameters.near_duplicate_similarity
    ]
    return len(first), count, near


def similarity_to_training(
    images: pd.DataFrame, vectors: np.ndarray, parameters: Audit
) -> np.ndarray:
    """How much each image of validation and test is like one that was there to learn from: the
    largest cosine (n,) with an image of train, or of validation for test images, of `compared` at
    most. NaN of images of train, and where there is nothing to learn from."""
    splits = images["split"].to_numpy()
    made = np.full(len(images), np.nan)
    for split, learnt in (("validation", ["train"]), ("test", ["train", "validation"])):
        own, others = np.flatnonzero(splits == split), np.flatnonzero(np.isin(splits, learnt))
        if len(own) and len(others):
            some = others[evenly_spaced(len(others), parameters.max_images)]
            made[own] = nearest_neighbors(vectors[own], vectors[some], 1)[1][:, 0]
    return made


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Numbers below `count`, `most` of them at most, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
