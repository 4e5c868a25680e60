"""Measure accuracy by training-set size, to decide whether to label more images."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from thaw.config.audit import Audit
from thaw.evaluation.label_errors import fit_probabilities
from thaw.storage.tables import SPLIT_GROUP

COLUMNS = ["images", "accuracy", "lowest", "highest", "repeats"]
HELD_OUT = 0.2  # share of the training images to measure on without validation data
MOST_WORK = 5e9  # images times channels times classes of all fits but the last: 10 to 30 seconds


def learning_curve(
    images: pd.DataFrame, inputs: np.ndarray, parameters: Audit, seed: int
) -> tuple[pd.DataFrame, str, int]:
    """Measure accuracy for training sets of each size, of half of the images and of all.

    Smaller training sets are drawn at random, with the class proportions of all images and at least
    one image of each class. Sizes that give as many images as another are left out. Many classes
    and images get fewer than `repeats` training sets of each size.

    Args:
        images: n rows with columns class, split, split_group and confidence.
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
        holdout = GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed)
        own, left_out = next(holdout.split(train, groups=images[SPLIT_GROUP].iloc[train]))
        train, rest = train[own], train[left_out]
    labels = images["class"].to_numpy()
    by_class = [train[labels[train] == number] for number in np.unique(labels[train])]
    if len(by_class) < 2:
        return pd.DataFrame(columns=COLUMNS), measured, len(rest)
    count, half = int(labels.max()) + 1, len(train) // 2
    sizes: dict[int, list[int]] = {}  # number of images of each class, by their sum
    for wanted in [*sorted({n for n in parameters.train_sizes if n < half}), half]:
        parts = [max(1, round(wanted / len(train) * len(own))) for own in by_class]
        sizes.setdefault(sum(parts), parts)
    sizes.pop(len(train), None)
    work = sum(sizes) * inputs.shape[1] * count
    repeats = int(np.clip(MOST_WORK // max(work, 1), 1, parameters.repeats))
    rows = []
    for size, parts in [*sizes.items(), (len(train), [])]:
        accuracies = []
        for _ in range(repeats if parts else 1):
            drawn = train
            if parts:
                drawn = np.concatenate(
                    [
                        random.permutation(own)[:part]
                        for own, part in zip(by_class, parts, strict=True)
                    ]
                )
            probabilities = fit_probabilities(inputs[drawn], images.iloc[drawn], parameters, count)
            predicted = probabilities(inputs[rest]).argmax(1)
            accuracies.append(float((predicted == labels[rest]).mean()))
        span = np.mean(accuracies), min(accuracies), max(accuracies)
        rows.append((size, *(round(float(v), 4) for v in span), len(accuracies)))
    return pd.DataFrame(rows, columns=COLUMNS), measured, len(rest)
