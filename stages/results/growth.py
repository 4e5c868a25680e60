"""How accuracy grows with the number of labelled images: should more be labelled?"""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from stages.params.doubt import Doubt
from stages.results.suspects import fitted

COLUMNS = ["per_class", "images", "accuracy", "lowest", "highest", "draws"]
HELD_OUT = 0.2


def growth(
    images: pd.DataFrame, inputs: np.ndarray, parameters: Doubt, seed: int
) -> tuple[pd.DataFrame, str]:
    """A row for each number of labelled training images of each class, the last with all: COLUMNS;
    and on what accuracy was measured. A class that has fewer gives all it has.

    Args:
        images: n rows with columns class, split, pixels and confidence.
        inputs: their features (n, channels).
    """
    random = np.random.default_rng(seed)
    train = np.flatnonzero(images["split"] == "train")
    rest = np.flatnonzero(images["split"] == "validation")
    measured = "validation images"
    if not len(rest):
        measured = "a fifth of the training images, left out of training here"
        parts = GroupShuffleSplit(1, test_size=HELD_OUT, random_state=seed)
        own, held = next(parts.split(train, groups=images["pixels"].iloc[train]))
        train, rest = train[own], train[held]
    labels = images["class"].to_numpy()
    by_class = [train[labels[train] == number] for number in np.unique(labels[train])]
    if len(by_class) < 2:
        return pd.DataFrame(columns=COLUMNS), measured
    most = max(map(len, by_class))
    count = int(labels.max()) + 1
    found = []
    for each in [*sorted({n for n in parameters.labelled if n < most}), most]:
        reached = []
        for _ in range(parameters.draws if each < most else 1):
            drawn = np.concatenate([random.permutation(some)[:each] for some in by_class])
            if each == most:
                drawn = train
            probabilities = fitted(inputs[drawn], images.iloc[drawn], parameters, count)
            reached.append(float((probabilities(inputs[rest]).argmax(1) == labels[rest]).mean()))
        span = np.mean(reached), min(reached), max(reached)
        found.append((each, len(drawn), *(round(float(v), 4) for v in span), len(reached)))
    return pd.DataFrame(found, columns=COLUMNS), measured
