"""How good probabilities are, with intervals. scikit-learn measures; what it lacks is here."""

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

AT_ONCE = 2_000_000
"""Rows times resamplings that are computed together."""


def measure(true: np.ndarray, probabilities: np.ndarray, bins: int) -> dict[str, float | None]:
    """Accuracy, precision, recall, f1, roc_auc, log_loss and ece.

    For two classes precision, recall, f1 and roc_auc are those of the second, positive one; for
    more they are macro averages, roc_auc one-versus-rest.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        bins: of the expected calibration error.

    Returns:
        A value for each, or None where it is not defined (roc_auc of rows of one class).
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    labels = np.arange(classes)
    average = {"average": "binary", "pos_label": 1} if classes == 2 else {"average": "macro"}
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, labels=labels, zero_division=0.0, **average
    )
    auc = None
    if len(np.unique(true)) == classes:
        if classes == 2:
            auc = roc_auc_score(true, probabilities[:, 1])
        else:
            auc = roc_auc_score(true, probabilities, multi_class="ovr", labels=labels)
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": None if auc is None else float(auc),
        "log_loss": float(log_loss(true, probabilities, labels=labels)),
        "ece": calibration_error(true, probabilities, bins),
    }


def calibration(true: np.ndarray, probabilities: np.ndarray, bins: int) -> list[dict]:
    """Predictions grouped by the probability of the class they name, in bins of equal width:
    for each that is not empty its mean confidence, its accuracy and its count."""
    confidence, place = probabilities.max(axis=1), _bins(probabilities, bins)
    right = probabilities.argmax(axis=1) == true
    return [
        {
            "confidence": float(confidence[place == b].mean()),
            "accuracy": float(right[place == b].mean()),
            "count": int((place == b).sum()),
        }
        for b in np.unique(place)
    ]


def _bins(probabilities: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((probabilities.max(axis=1) * bins).astype(int), bins - 1)


def calibration_error(true: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the
    predictions, in bins of equal width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    groups = calibration(true, probabilities, bins)
    gaps = [g["count"] * abs(g["confidence"] - g["accuracy"]) for g in groups]
    return float(sum(gaps) / len(true))


def intervals(
    true: np.ndarray, probabilities: np.ndarray, bins: int, resamplings: int, seed: int = 0
) -> dict[str, list[float]]:
    """95 % bootstrap intervals of every measure: percentiles over resampled test rows, without
    the resamplings in which a measure is not defined."""
    random = np.random.default_rng(seed)
    rows = len(true)
    at_once = max(1, AT_ONCE // rows)
    drawn: dict[str, list[np.ndarray]] = {}
    for start in range(0, resamplings, at_once):
        counts = np.stack(
            [
                np.bincount(random.integers(rows, size=rows), minlength=rows)
                for _ in range(min(at_once, resamplings - start))
            ]
        ).astype("float64")
        for name, values in _resampled(true, probabilities, bins, counts).items():
            drawn.setdefault(name, []).append(values)
    found = {name: np.concatenate(parts) for name, parts in drawn.items()}
    return {
        name: [float(bound) for bound in np.nanpercentile(values, [2.5, 97.5])]
        for name, values in found.items()
        if not np.isnan(values).all()
    }


def _resampled(
    true: np.ndarray, probabilities: np.ndarray, bins: int, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """What `measure` gives for each of many resamplings at once, (resamplings,); NaN for None.

    Args:
        counts: (resamplings, n) how often each row was drawn.
    """
    rows, classes = probabilities.shape
    numbers = np.arange(classes)
    is_true, predicted = true[:, None] == numbers, probabilities.argmax(axis=1)
    is_predicted = predicted[:, None] == numbers
    confidence, place = probabilities.max(axis=1), _bins(probabilities, bins)
    small = np.finfo(probabilities.dtype).eps
    loss = -np.log(probabilities[np.arange(rows), true].clip(small, 1 - small))
    in_bin = place[:, None] == np.unique(place)
    gap = (confidence - (predicted == true))[:, None] * in_bin
    right, actual, named = (
        counts @ which.astype("float64")
        for which in (is_true & is_predicted, is_true, is_predicted)
    )  # (resamplings, classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall, f1 = (
            np.nan_to_num(a / b)
            for a, b in ((right, named), (right, actual), (2 * right, named + actual))
        )
        areas = [
            _areas(is_true[:, n], probabilities[:, n], counts) for n in numbers[classes == 2 :]
        ]
    which = [1] if classes == 2 else numbers
    return {
        "accuracy": right.sum(axis=1) / rows,
        "precision": precision[:, which].mean(axis=1),
        "recall": recall[:, which].mean(axis=1),
        "f1": f1[:, which].mean(axis=1),
        "roc_auc": np.mean(areas, axis=0),
        "log_loss": counts @ loss / rows,
        "ece": np.abs(counts @ gap).sum(axis=1) / rows,
    }


def _areas(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Areas under the ROC curves of resamplings: how often a positive row's score is above a
    negative one's, ties counting half. NaN where a resampling lacks either."""
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)  # rows of one score
    drawn, positive = counts[:, order], positive[order]
    above = np.add.reduceat(drawn * positive, starts, axis=1)
    below = np.add.reduceat(drawn * ~positive, starts, axis=1)
    pairs = above.sum(axis=1) * below.sum(axis=1)
    return (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1) / pairs


def per_class(true: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> dict[str, dict]:
    """Precision, recall, f1 and count of each class."""
    columns = precision_recall_fscore_support(
        true, probabilities.argmax(axis=1), labels=np.arange(len(classes)), zero_division=0.0
    )
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "count": int(n)}
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    }


def at_half(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Precision and recall over all classes together, a class counting as predicted where its
    probability is above a half: so an unsure image names no class. Keras's metrics of that name
    are these for one-hot labels.
    """
    named = probabilities > 0.5
    right = int(named[np.arange(len(true)), true].sum())
    return {"precision": right / max(int(named.sum()), 1), "recall": right / len(true)}


def confusion(true: np.ndarray, probabilities: np.ndarray) -> list[list[int]]:
    """Counts by true (rows) and predicted (columns) class."""
    labels = np.arange(probabilities.shape[1])
    return confusion_matrix(true, probabilities.argmax(axis=1), labels=labels).tolist()
