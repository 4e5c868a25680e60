"""How accuracy grows with the number of labelled images: should more be labelled?"""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from thaw.config.audit import Audit
from thaw.evaluation.label_errors import fit_probabilities

COLUMNS = ["images", "accuracy", "lowest", "highest", "repeats"]
HELD_OUT = 0.2


def learning_curve(
    images: pd.DataFrame, inputs: np.ndarray, parameters: Audit, seed: int
) -> tuple[pd.DataFrame, str, int]:
    """A row for each number of labelled training images, the last two with half of all and all:
    COLUMNS; on what accuracy was measured, and on how many images. Fewer than all are drawn with
    all's mixture of classes, at least one of each.

    Args:
        images: n rows with columns class, split, pixels and confidence.
        inputs: their features (n, channels).
    """
    random = np.random.default_rng(seed)
    train = np.flatnonzero(images["split"] == "train")
    rest = np.flatnonzero(images["split"] == "validation")
    measured = "validation images"
    if not len(rest):
        measured = "of the training images, a fifth, left out of training here"
        parts = GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed)
        own, held = next(parts.split(train, groups=images["pixel_sha256"].iloc[train]))
        train, rest = train[own], train[held]
    labels = images["class"].to_numpy()
    by_class = [train[labels[train] == number] for number in np.unique(labels[train])]
    if len(by_class) < 2:
        return pd.DataFrame(columns=COLUMNS), measured, len(rest)
    count, half = int(labels.max()) + 1, len(train) // 2
    found = []
    for images_used in [*sorted({n for n in parameters.train_sizes if n < half}), half, len(train)]:
        share, reached = images_used / len(train), []
        for _ in range(parameters.repeats if share < 1 else 1):
            drawn = np.concatenate(
                [random.permutation(some)[: max(1, round(share * len(some)))] for some in by_class]
            )
            if share == 1:
                drawn = train
            probabilities = fit_probabilities(inputs[drawn], images.iloc[drawn], parameters, count)
            reached.append(float((probabilities(inputs[rest]).argmax(1) == labels[rest]).mean()))
        span = np.mean(reached), min(reached), max(reached)
        found.append((len(drawn), *(round(float(v), 4) for v in span), len(reached)))
    return pd.DataFrame(found, columns=COLUMNS), measured, len(rest)
