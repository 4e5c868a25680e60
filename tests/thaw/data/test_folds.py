"""Folds of groups, compared with scikit-learn's."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from thaw.data.folds import GroupFolds


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize(("classes", "groups", "folds"), [(2, 30, 3), (12, 90, 10), (60, 300, 5)])
def test_folds_are_those_of_scikit_learn(classes, groups, folds):
    random = np.random.default_rng(classes)
    labels, names = random.integers(0, classes, 300), random.integers(0, groups, 300)
    names = np.where(names % 3, np.arange(300) + groups, names)  # also groups of one image
    expected, found = (
        [
            rest.tolist()
            for _, rest in kind(folds, shuffle=True, random_state=1).split(labels, labels, names)
        ]
        for kind in (StratifiedGroupKFold, GroupFolds)
    )
    assert found == expected
