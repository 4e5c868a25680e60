"""Logistic regression on pooled features, as plain arrays: no code is stored with it."""

from pathlib import Path

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from thaw.config.subnet import Pooling
from thaw.errors import UserError
from thaw.storage.files import atomic_write
from thaw.storage.npz import load_npz, save_npz

AT_ONCE = 256


def pooled(features, pooling: Pooling) -> np.ndarray:
    """Features (n, height, width, channels), pooled over the map: their averages (n, channels), or
    averages and maxima side by side (n, 2 * channels); float64. They are taken a few at a time: see
    thaw.storage.arrays.Selection."""
    found = [_pooled(features[:0], pooling)]
    for start in range(0, len(features), AT_ONCE):
        found.append(_pooled(features[start : start + AT_ONCE], pooling))
    return np.concatenate(found)


def _pooled(held: np.ndarray, pooling: Pooling) -> np.ndarray:
    averages = held.mean(axis=(1, 2), dtype="float64")
    return averages if pooling == "average" else np.hstack([averages, held.max(axis=(1, 2))])


def fit(
    inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, C: float, max_iter: int
) -> dict[str, np.ndarray]:
    """Fit scikit-learn's LogisticRegression (L2, lbfgs) on standardised inputs (n, inputs)."""
    scaler = StandardScaler().fit(inputs, sample_weight=weights)
    fitted = LogisticRegression(C=C, max_iter=max_iter)
    fitted.fit(scaler.transform(inputs), labels, sample_weight=weights)
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coefficients": fitted.coef_,
        "intercept": fitted.intercept_,
    }


def predict(model: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Class probabilities (n, classes) of pooled features (n, inputs)."""
    scores = (inputs - model["mean"]) / model["scale"] @ model["coefficients"].T + model[
        "intercept"
    ]
    if scores.shape[1] == 1:
        second = expit(scores)
        return np.hstack([1 - second, second])
    return softmax(scores, axis=1)


def save(model: dict[str, np.ndarray], path: str | Path) -> None:
    """Write the arrays as .npz."""
    with atomic_write(path) as part:
        save_npz(part, model)


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `save` wrote.

    Raises:
        UserError: it is damaged, or its arrays do not fit together.
    """
    held = load_npz(path)
    shapes = {name: held[name].shape for name in held}
    rows = shapes.get("coefficients", ())
    fitting = {"mean": rows[1:], "scale": rows[1:], "coefficients": rows, "intercept": rows[:1]}
    if len(rows) != 2 or shapes != fitting:
        raise UserError(
            f"{path} is no logistic model: its arrays are {shapes}. `dvc checkout` or `dvc repro` "
            f"brings it."
        )
    return held
