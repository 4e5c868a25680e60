"""Logistic regression on pooled features, stored as plain arrays without code."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from thaw.config.subnet import Pooling
from thaw.errors import UserError
from thaw.storage.files import atomic_write
from thaw.storage.npz import load_npz, save_npz

CHUNK_ROWS = 256  # feature maps that are in memory at a time


def pooled(features: Any, pooling: Pooling) -> np.ndarray:
    """Return features pooled over height and width, float64.

    Args:
        features: (n, height, width, channels), an array or thaw.storage.arrays.Selection, which
            is read in chunks.
        pooling: `average`, or `average_max` for averages and maxima side by side.

    Returns:
        (n, channels) or (n, 2 * channels).
    """
    chunks = [_pool_chunk(features[:0], pooling)]
    for start in range(0, len(features), CHUNK_ROWS):
        chunks.append(_pool_chunk(features[start : start + CHUNK_ROWS], pooling))
    return np.concatenate(chunks)


def _pool_chunk(features: np.ndarray, pooling: Pooling) -> np.ndarray:
    averages = features.mean(axis=(1, 2), dtype="float64")  # (n, channels)
    return averages if pooling == "average" else np.hstack([averages, features.max(axis=(1, 2))])


def fit(
    inputs: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    C: float,  # noqa: N803 - scikit-learn's name
    max_iter: int,
) -> dict[str, np.ndarray]:
    """Fit scikit-learn's LogisticRegression (L2, lbfgs) on standardised inputs.

    Args:
        inputs: (n, inputs), pooled features.
        labels: (n,), class numbers.
        weights: (n,), sample weights.
        C: inverse strength of the L2 penalty.
        max_iter: largest number of iterations.

    Returns:
        `mean` and `scale` (inputs,), `coefficients` (1 or classes, inputs) and `intercept`
        (1 or classes,); one row for two classes.
    """
    scaler = StandardScaler().fit(inputs, sample_weight=weights)
    regression = LogisticRegression(C=C, max_iter=max_iter)
    with warnings.catch_warnings():  # many classes of one or two images are not a mistake
        warnings.filterwarnings("ignore", message="The number of unique classes")
        regression.fit(scaler.transform(inputs), labels, sample_weight=weights)
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coefficients": regression.coef_,
        "intercept": regression.intercept_,
    }


def predict(model: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Return the class probabilities (n, classes) of pooled features (n, inputs)."""
    standardized = (inputs - model["mean"]) / model["scale"]
    scores = standardized @ model["coefficients"].T + model["intercept"]  # (n, 1 or classes)
    if scores.shape[1] == 1:
        second = expit(scores)
        return np.hstack([1 - second, second])
    return softmax(scores, axis=1)


def save(model: dict[str, np.ndarray], path: str | Path) -> None:
    """Write the arrays of `fit` to an .npz file."""
    with atomic_write(path) as part:
        save_npz(part, model)


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays that `save` wrote.

    Raises:
        UserError: the file is damaged, or the shapes of its arrays do not match.
    """
    arrays = load_npz(path)
    shapes = {name: arrays[name].shape for name in arrays}
    rows = shapes.get("coefficients", ())
    expected = {"mean": rows[1:], "scale": rows[1:], "coefficients": rows, "intercept": rows[:1]}
    if len(rows) != 2 or shapes != expected:
        raise UserError(
            f"{path} is not a logistic model: its arrays have the shapes {shapes}. `dvc checkout` "
            f"or `dvc repro` restores it."
        )
    return arrays
