"""How good probabilities are, with intervals. scikit-learn measures; what it lacks is here."""

import numpy as np
from sklearn import config_context
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)


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
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == true
    place = np.minimum((confidence * bins).astype(int), bins - 1)
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
    true: np.ndarray, probabilities: np.ndarray, bins: int, resamplings: int, seed: int = 0
) -> dict[str, list[float]]:
    """95 % bootstrap intervals of every measure: percentiles over resampled test rows."""
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(resamplings):
            rows = random.integers(len(true), size=len(true))
            for name, value in measure(true[rows], probabilities[rows], bins).items():
                if value is not None:
                    drawn.setdefault(name, []).append(value)
    return {
        name: [float(bound) for bound in np.percentile(values, [2.5, 97.5])]
        for name, values in drawn.items()
    }


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
