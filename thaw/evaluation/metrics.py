"""How good probabilities are, with intervals. scikit-learn measures; what it lacks is here."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

AT_ONCE = 2_000_000
"""Rows times resamplings that are computed together."""
MOST_AREAS = 1_000_000_000
"""Rows times resamplings times classes, a minute or two, beyond which roc_auc has no interval."""


def measure(true: np.ndarray, probabilities: np.ndarray, bins: int) -> dict[str, float | None]:
    """Accuracy, precision, recall, f1, roc_auc, log_loss and ece.

    For two classes precision, recall, f1 and roc_auc are those of the second, positive one; for
    more they are macro averages over the classes that `true` has, roc_auc one-versus-rest.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
        bins: of the expected calibration error.

    Returns:
        A value for each, or None where it is not defined (roc_auc of rows of one class).
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    present = np.unique(true)
    which = np.array([1]) if classes == 2 else present
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, labels=which, zero_division=0.0, average="macro"
    )
    auc = None
    if len(present) > 1:
        auc = np.mean([roc_auc_score(true == n, probabilities[:, n]) for n in which])
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": None if auc is None else float(auc),
        "log_loss": float(log_loss(true, probabilities, labels=np.arange(classes))),
        "ece": calibration_error(true, probabilities, bins),
    }


def calibration(true: np.ndarray, probabilities: np.ndarray, bins: int) -> list[dict]:
    """Predictions grouped by the probability of the class they name, in bins of equal width:
    for each that is not empty its mean confidence, its accuracy and its count."""
    confidence = probabilities.max(axis=1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    right = probabilities.argmax(axis=1) == true
    return [
        {
            "confidence": float(confidence[place == b].mean()),
            "accuracy": float(right[place == b].mean()),
            "count": int((place == b).sum()),
        }
        for b in np.unique(place)
    ]


def calibration_error(true: np.ndarray, probabilities: np.ndarray, bins: int) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the
    predictions, in bins of equal width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    groups = calibration(true, probabilities, bins)
    gaps = [g["count"] * abs(g["confidence"] - g["accuracy"]) for g in groups]
    return float(sum(gaps) / len(true))


def intervals(
    true: np.ndarray, probabilities: np.ndarray, resamplings: int, seed: int = 0
) -> dict[str, list[float]]:
    """95 % intervals of the measures.

    Wilson's of shares of rows, which have a width where all are right too: accuracy and, of two
    classes, precision and recall. Of the others percentiles of a bootstrap over test rows, without
    the resamplings in which a measure is not defined. None of roc_auc where it would take long,
    and none of ece, which resampling alone makes larger.
    """
    random = np.random.default_rng(seed)
    rows, classes = probabilities.shape
    areas = rows * resamplings * (classes if classes > 2 else 1) <= MOST_AREAS
    at_once = max(1, AT_ONCE // rows)
    drawn: dict[str, list[np.ndarray]] = {}
    for start in range(0, resamplings, at_once):
        counts = np.stack(
            [
                np.bincount(random.integers(rows, size=rows), minlength=rows)
                for _ in range(min(at_once, resamplings - start))
            ]
        ).astype("float64")
        for name, values in _resampled(true, probabilities, counts, areas).items():
            drawn.setdefault(name, []).append(values)
    found = {name: np.concatenate(parts) for name, parts in drawn.items()}
    shares = _shares(true, probabilities)
    bounds = {
        name: np.nanpercentile(values, [2.5, 97.5])
        for name, values in found.items()
        if name not in shares and not np.isnan(values).all()
    }
    for name, right in shares.items():
        if len(right):
            bounds[name] = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return {name: [float(low), float(high)] for name, (low, high) in bounds.items()}


def _shares(true: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The measures that are shares of rows: whether each of these rows is right."""
    predicted = probabilities.argmax(axis=1)
    right = predicted == true
    if probabilities.shape[1] != 2:
        return {"accuracy": right}
    return {"accuracy": right, "precision": right[predicted == 1], "recall": right[true == 1]}


def _resampled(
    true: np.ndarray, probabilities: np.ndarray, counts: np.ndarray, areas: bool
) -> dict[str, np.ndarray]:
    """What `measure` gives of what has a bootstrap interval, for each of many resamplings at once,
    (resamplings,); NaN for None.

    Args:
        counts: (resamplings, n) how often each row was drawn.
        areas: whether roc_auc is asked for.
    """
    rows, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    small = np.finfo(probabilities.dtype).eps
    loss = -np.log(probabilities[np.arange(rows), true].clip(small, 1 - small))
    right, actual, named = (
        np.stack([np.bincount(number, weights=row, minlength=classes) for row in weights])
        for number, weights in (
            (true, counts * (predicted == true)),
            (true, counts),
            (predicted, counts),
        )
    )  # (resamplings, classes)
    which = [1] if classes == 2 else np.arange(classes)
    counted = np.ones((1, 1), bool) if classes == 2 else actual > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            name: np.mean(np.nan_to_num(a / b)[:, which], axis=1, where=counted)
            for name, a, b in (
                ("precision", right, named),
                ("recall", right, actual),
                ("f1", 2 * right, named + actual),
            )
        }
        if areas:
            each = np.stack([_areas(true == n, probabilities[:, n], counts) for n in which], axis=1)
            found["roc_auc"] = np.mean(each, axis=1, where=counted)
    return {**found, "log_loss": counts @ loss / rows}


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
