"""The last layer, and what it says as class probabilities."""

import numpy as np


def output(inputs, classes: int, kind: str = "auto", name: str = "output"):
    """The output layer on a tensor (batch, n), always computed in float32.

    Args:
        kind: `auto` is one sigmoid unit for two classes and softmax for more; `softmax` always
            has a unit a class.

    Returns:
        (batch, 1), the second class's probability, or (batch, classes).
    """
    from stages.engine import keras

    if classes == 2 and kind == "auto":
        units, activation = 1, "sigmoid"
    else:
        units, activation = classes, "softmax"
    return keras.layers.Dense(units, activation=activation, dtype="float32", name=name)(inputs)


def probabilities(predicted: np.ndarray) -> np.ndarray:
    """What an output layer gave as (n, classes), float64, rows summing to 1."""
    predicted = np.asarray(predicted, "float64")
    if predicted.shape[1] == 1:
        predicted = np.hstack([1 - predicted, predicted])
    return predicted / predicted.sum(axis=1, keepdims=True)
