"""Assign groups to folds that have the same proportions of classes, in time for many classes."""

from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold


class GroupFolds(StratifiedGroupKFold):  # type: ignore[misc]
    """scikit-learn's StratifiedGroupKFold with the same folds, computed faster.

    For each group and fold, scikit-learn computes the standard deviation of all classes. Here only
    those of the group's classes are computed, since the others do not change: 5,000 images of 1,000
    classes take 1 s instead of 11 s.
    """

    def _find_best_fold(self, y_counts_per_fold: Any, y_cnt: Any, group_y_counts: Any) -> int:
        """Return the fold in which a group makes the proportions of classes most similar.

        scikit-learn calls it for one group after the other.

        Args:
            y_counts_per_fold: images of each class in each fold so far, (folds, classes).
            y_cnt: images of each class, (classes,).
            group_y_counts: images of each class in the group, (classes,).
        """
        if not y_counts_per_fold.any():  # the first group
            self._deviations = np.zeros(len(y_cnt))
        own = np.flatnonzero(group_y_counts)
        own = own if len(own) > 1 else np.append(own, own)  # NumPy sums one column in another order
        folds = len(y_counts_per_fold)
        counts = np.tile(y_counts_per_fold[:, own], (folds, 1, 1))  # with the group in each fold
        counts[range(folds), range(folds)] += group_y_counts[own]
        deviations = np.std(counts / y_cnt[own], axis=1)  # (folds, classes of the group)
        sizes = y_counts_per_fold.sum(axis=1)
        best, lowest, fewest = 0, np.inf, np.inf
        for fold in range(folds):
            self._deviations[own] = deviations[fold]
            score = np.add.reduce(self._deviations) / len(y_cnt)
            close = abs(score - lowest) <= 1e-8 + 1e-5 * lowest  # as np.isclose
            if score < lowest or (close and sizes[fold] < fewest):
                best, lowest, fewest = fold, score, sizes[fold]
        self._deviations[own] = deviations[best]
        return best
