"""Activation functions, the output layer, and class probabilities from its output."""

from typing import Any

import numpy as np


def apply_activation(x: Any, kind: str, slope: float) -> Any:
    """Return a tensor (batch, ..., channels) after an activation function, in the same shape.

    Args:
        x: tensor (batch, ..., channels).
        kind: none, relu, leaky_relu, prelu (which learns a slope for each channel) or elu.
        slope: slope below zero, of leaky_relu and, at the start of training, of prelu.
    """
    from thaw.runtime.tensorflow import keras

    if kind == "none":
        return x
    if kind == "leaky_relu":
        return keras.layers.LeakyReLU(slope)(x)
    if kind == "prelu":
        initializer = keras.initializers.Constant(slope)
        return keras.layers.PReLU(initializer, shared_axes=list(range(1, len(x.shape) - 1)))(x)
    return keras.layers.Activation(kind)(x)


def output_layer(inputs: Any, classes: int, kind: str = "auto", name: str = "output") -> Any:
    """Apply a new output layer, which always computes in float32.

    Args:
        inputs: tensor (batch, n).
        classes: number of classes.
        kind: `auto` is one sigmoid unit for two classes and softmax for more; `softmax` always
            has one unit per class.
        name: of the layer.

    Returns:
        (batch, 1), the probability of the second class, or (batch, classes).
    """
    from thaw.runtime.tensorflow import keras

    if classes == 2 and kind == "auto":
        units, activation = 1, "sigmoid"
    else:
        units, activation = classes, "softmax"
    return keras.layers.Dense(units, activation=activation, dtype="float32", name=name)(inputs)


def to_probabilities(predicted: np.ndarray) -> np.ndarray:
    """Return class probabilities (n, classes), float64, whose rows sum to 1.

    Args:
        predicted: an output layer's values, (n, 1) of a sigmoid unit or (n, classes).
    """
    predicted = np.asarray(predicted, "float64")
    if predicted.shape[1] == 1:
        predicted = np.hstack([1 - predicted, predicted])
    return predicted / predicted.sum(axis=1, keepdims=True)
