"""Measure accuracy by training-set size, to decide whether to label more images."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from thaw.config.audit import Audit
from thaw.evaluation.label_errors import fit_probabilities

COLUMNS = ["images", "accuracy", "lowest", "highest", "repeats"]
HELD_OUT = 0.2  # share of the training images to measure on without validation data


def learning_curve(
    images: pd.DataFrame, inputs: np.ndarray, parameters: Audit, seed: int
) -> tuple[pd.DataFrame, str, int]:
    """Measure accuracy for training sets of each size, of half of the images and of all.

    Smaller training sets are drawn at random, with the class proportions of all images and at least
    one image of each class.

    Args:
        images: n rows with columns class, split, pixel_sha256 and confidence.
        inputs: their features (n, channels).
        parameters: of the audit.
        seed: for the random training sets.

    Returns:
        A table with the columns COLUMNS, a phrase that says which images accuracy was measured
        on, and how many they are.
    """
    random = np.random.default_rng(seed)
    train = np.flatnonzero(images["split"] == "train")
    rest = np.flatnonzero(images["split"] == "validation")
    measured = "validation images"
    if not len(rest):
        measured = "of the training images, a fifth, left out of training here"
        parts = GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed)
        own, left_out = next(parts.split(train, groups=images["pixel_sha256"].iloc[train]))
        train, rest = train[own], train[left_out]
    labels = images["class"].to_numpy()
    by_class = [train[labels[train] == number] for number in np.unique(labels[train])]
    if len(by_class) < 2:
        return pd.DataFrame(columns=COLUMNS), measured, len(rest)
    count, half = int(labels.max()) + 1, len(train) // 2
    rows = []
    for images_used in [*sorted({n for n in parameters.train_sizes if n < half}), half, len(train)]:
        share, accuracies = images_used / len(train), []
        for _ in range(parameters.repeats if share < 1 else 1):
            drawn = np.concatenate(
                [random.permutation(own)[: max(1, round(share * len(own)))] for own in by_class]
            )
            if share == 1:
                drawn = train
            probabilities = fit_probabilities(inputs[drawn], images.iloc[drawn], parameters, count)
            predicted = probabilities(inputs[rest]).argmax(1)
            accuracies.append(float((predicted == labels[rest]).mean()))
        span = np.mean(accuracies), min(accuracies), max(accuracies)
        rows.append((len(drawn), *(round(float(v), 4) for v in span), len(accuracies)))
    return pd.DataFrame(rows, columns=COLUMNS), measured, len(rest)
