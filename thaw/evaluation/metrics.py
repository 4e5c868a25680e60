"""Classification metrics with 95 % intervals, by scikit-learn where it has them."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

AT_ONCE = 2_000_000  # rows times resamplings computed together; bounds the memory
MOST_AREAS = 1_000_000_000  # rows times resamplings times classes: one or two minutes of roc_auc


def measure(true: np.ndarray, probabilities: np.ndarray, bins: int) -> dict[str, float | None]:
    """Return accuracy, precision, recall, f1, roc_auc, log_loss and ece.

    For two classes, precision, recall, f1 and roc_auc are those of the second, positive class. For
    more classes they are macro averages over the classes in `true`, with roc_auc one-versus-rest.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        bins: of the expected calibration error (ece).

    Returns:
        A value for each; None where it is undefined (roc_auc if all rows have one class).
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    present = np.unique(true)
    averaged = np.array([1]) if classes == 2 else present
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, labels=averaged, zero_division=0.0, average="macro"
    )
    auc = None
    if len(present) > 1:
        auc = np.mean([roc_auc_score(true == n, probabilities[:, n]) for n in averaged])
    simple = accuracy_and_loss(true, probabilities)
    return {
        "accuracy": simple["accuracy"],
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": None if auc is None else float(auc),
        "log_loss": simple["log_loss"],
        "ece": calibration_error(true, probabilities, bins),
    }


def accuracy_and_loss(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return accuracy and log_loss.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
    """
    labels = np.arange(probabilities.shape[1])
    return {
        "accuracy": float(accuracy_score(true, probabilities.argmax(axis=1))),
        "log_loss": float(log_loss(true, probabilities, labels=labels)),
    }


def calibration(true: np.ndarray, probabilities: np.ndarray, bins: int) -> list[dict[str, Any]]:
    """Group predictions by confidence, the probability of the predicted class.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        bins: of equal width, between 0 and 1.

    Returns:
        The mean `confidence`, `accuracy` and `count` of each bin that is not empty.
    """
    confidence = probabilities.max(axis=1)
    bin_number = np.minimum((confidence * bins).astype(int), bins - 1)
    right = probabilities.argmax(axis=1) == true
    return [
        {
            "confidence": float(confidence[bin_number == b].mean()),
            "accuracy": float(right[bin_number == b].mean()),
            "count": int((bin_number == b).sum()),
        }
        for b in np.unique(bin_number)
    ]


def calibration_error(true: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    """Return the expected calibration error.

    It is the mean difference between confidence and accuracy over all predictions, in bins of equal
    width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    groups = calibration(true, probabilities, bins)
    gaps = [g["count"] * abs(g["confidence"] - g["accuracy"]) for g in groups]
    return float(sum(gaps) / len(true))


def intervals(
    true: np.ndarray,
    probabilities: np.ndarray,
    resamplings: int,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return 95 % intervals of the metrics.

    Accuracy and, for two classes, precision and recall are shares of rows. They get Wilson
    intervals, which are not empty if all rows are correct. The other metrics get percentiles of a
    bootstrap over test rows, without the resamplings in which a metric is undefined. ece gets none,
    since resampling itself increases it. roc_auc gets none where it would take minutes.

    With `groups`, whose rows are not independent, the bootstrap draws whole groups and gives all
    intervals. A share in which no resampling differs gets the Wilson interval of as many rows as
    there are groups.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        resamplings: of the bootstrap.
        groups: (n,) the group of each row; None if rows are independent.
        seed: of the bootstrap.

    Returns:
        The lower and upper bound by metric.
    """
    random = np.random.default_rng(seed)
    rows, classes = probabilities.shape
    units = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(units.max()) + 1
    areas = rows * resamplings * (classes if classes > 2 else 1) <= MOST_AREAS
    at_once = max(1, AT_ONCE // rows)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, resamplings, at_once):
        counts = np.stack(
            [
                np.bincount(random.integers(count, size=count), minlength=count)[units]
                for _ in range(min(at_once, resamplings - start))
            ]
        ).astype("float64")
        for name, values in _resampled(true, probabilities, counts, areas).items():
            parts.setdefault(name, []).append(values)
    resampled = {name: np.concatenate(values) for name, values in parts.items()}
    shares = _shares(true, probabilities)
    bounds = {}
    for name, values in resampled.items():
        by_rows = name in shares and groups is None
        if not by_rows and not np.isnan(values).all():
            bounds[name] = np.nanpercentile(values, [2.5, 97.5])
    for name, right in shares.items():
        if groups is None and len(right):
            bounds[name] = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        elif not len(right):
            bounds.pop(name, None)
        elif name in bounds and bounds[name][0] == bounds[name][1]:
            successes = round(float(bounds[name][0]) * count)
            bounds[name] = binomtest(successes, count).proportion_ci(method="wilson")
    return {name: [float(low), float(high)] for name, (low, high) in bounds.items()}


def _shares(true: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for each metric that is a share of rows, whether each of these rows is correct."""
    predicted = probabilities.argmax(axis=1)
    right = predicted == true
    if probabilities.shape[1] != 2:
        return {"accuracy": right}
    return {"accuracy": right, "precision": right[predicted == 1], "recall": right[true == 1]}


def _resampled(
    true: np.ndarray, probabilities: np.ndarray, counts: np.ndarray, areas: bool
) -> dict[str, np.ndarray]:
    """Compute the metrics with bootstrap intervals for many resamplings at once.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        counts: (resamplings, n), how often each row was drawn.
        areas: whether to compute roc_auc.

    Returns:
        Values (resamplings,) by metric, equal to those of `measure`, with NaN for None.
    """
    rows, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    small = np.finfo(probabilities.dtype).eps
    loss = -np.log(probabilities[np.arange(rows), true].clip(small, 1 - small))
    right, actual, predictions = (
        np.stack([np.bincount(number, weights=row, minlength=classes) for row in weights])
        for number, weights in (
            (true, counts * (predicted == true)),
            (true, counts),
            (predicted, counts),
        )
    )  # (resamplings, classes)
    drawn = counts.sum(axis=1)  # rows of each resampling
    averaged = [1] if classes == 2 else np.arange(classes)
    counted = np.ones((1, 1), bool) if classes == 2 else actual > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        metrics = {
            name: np.mean(np.nan_to_num(a / b)[:, averaged], axis=1, where=counted)
            for name, a, b in (
                ("precision", right, predictions),
                ("recall", right, actual),
                ("f1", 2 * right, predictions + actual),
            )
        }
        if classes == 2:  # shares of rows, undefined without rows
            metrics["precision"][predictions[:, 1] == 0] = np.nan
            metrics["recall"][actual[:, 1] == 0] = np.nan
        if areas:
            each = [_areas(true == n, probabilities[:, n], counts) for n in averaged]
            metrics["roc_auc"] = np.mean(np.stack(each, axis=1), axis=1, where=counted)
    return {**metrics, "accuracy": right.sum(axis=1) / drawn, "log_loss": counts @ loss / drawn}


def _areas(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the areas under the ROC curves of resamplings, NaN if one has a single class.

    The area is the share of pairs in which the positive row's score is higher; ties count half.
    """
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)  # where each distinct score starts
    drawn, positive = counts[:, order], positive[order]
    above = np.add.reduceat(drawn * positive, starts, axis=1)
    below = np.add.reduceat(drawn * ~positive, starts, axis=1)
    pairs = above.sum(axis=1) * below.sum(axis=1)
    return (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1) / pairs


def per_class(
    true: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> dict[str, dict[str, Any]]:
    """Return precision, recall, f1 and count by class."""
    columns = precision_recall_fscore_support(
        true, probabilities.argmax(axis=1), labels=np.arange(len(classes)), zero_division=0.0
    )
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "count": int(n)}
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    }


def at_half(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return precision and recall over all classes together at a threshold of 0.5.

    An image in which no probability is above 0.5 has no predicted class. Keras's Precision and
    Recall compute the same from one-hot labels.
    """
    predicted = probabilities > 0.5
    right = int(predicted[np.arange(len(true)), true].sum())
    return {"precision": right / max(int(predicted.sum()), 1), "recall": right / len(true)}


def confusion(true: np.ndarray, probabilities: np.ndarray) -> list[list[int]]:
    """Return counts by true (rows) and predicted (columns) class."""
    labels = np.arange(probabilities.shape[1])
    return confusion_matrix(true, probabilities.argmax(axis=1), labels=labels).tolist()
