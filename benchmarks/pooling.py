"""Compare poolings for the logistic regression, without the test data.

    python -m benchmarks.pooling [SUBNET]

Run it in a repository whose stages `split` and `features@vgg16` have run. Prints the accuracy in
per cent on training and validation images: five folds, repeated twice, all images of equal weight.
"""

import sys
from typing import get_args

import numpy as np
import pandas as pd
from sklearn.model_selection import RepeatedStratifiedKFold

from thaw.config.base import read_params
from thaw.config.subnet import Pooling, validate_subnet
from thaw.data.split_table import SplitTable
from thaw.models.logistic import fit, pooled, predict
from thaw.storage.arrays import ArrayFolder


def main() -> None:
    """Print a line for each pooling."""
    name = sys.argv[1] if sys.argv[1:] else "logistic"
    parameters = validate_subnet(read_params("subnets", name), name)
    rows, features = SplitTable(), ArrayFolder(f"data/features/{parameters.features}")
    images = pd.concat([rows.of("train"), rows.of("validation")])
    labels = images["class"].to_numpy()
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    for pooling in get_args(Pooling):
        inputs = pooled(features.select(images["pixel_sha256"]), pooling)
        accuracies = []
        for train, rest in folds.split(inputs, labels):
            ones = np.ones(len(train))
            model = fit(inputs[train], labels[train], ones, parameters.C, parameters.max_iter)
            accuracies.append(np.mean(predict(model, inputs[rest]).argmax(axis=1) == labels[rest]))
        print(f"{pooling}: {100 * np.mean(accuracies):.2f}", flush=True)


if __name__ == "__main__":
    main()
