"""Activations and the output layer, with its class probabilities."""

import numpy as np


def apply_activation(x, kind: str, slope: float):
    """A tensor (batch, ..., channels) after its activation, the same shape.

    Args:
        kind: none, relu, leaky_relu, prelu (which learns a slope for each channel) or elu.
        slope: below zero, of leaky_relu, and where prelu starts.
    """
    from thaw.runtime.tensorflow import keras

    if kind == "none":
        return x
    if kind == "leaky_relu":
        return keras.layers.LeakyReLU(slope)(x)
    if kind == "prelu":
        start = keras.initializers.Constant(slope)
        return keras.layers.PReLU(start, shared_axes=list(range(1, len(x.shape) - 1)))(x)
    return keras.layers.Activation(kind)(x)


def output_layer(inputs, classes: int, kind: str = "auto", name: str = "output"):
    """The output layer on a tensor (batch, n), always computed in float32.

    Args:
        kind: `auto` is one sigmoid unit for two classes and softmax for more; `softmax` always
            has a unit a class.

    Returns:
        (batch, 1), the second class's probability, or (batch, classes).
    """
    from thaw.runtime.tensorflow import keras

    if classes == 2 and kind == "auto":
        units, activation = 1, "sigmoid"
    else:
        units, activation = classes, "softmax"
    return keras.layers.Dense(units, activation=activation, dtype="float32", name=name)(inputs)


def to_probabilities(predicted: np.ndarray) -> np.ndarray:
    """What an output layer gave as (n, classes), float64, rows summing to 1."""
    predicted = np.asarray(predicted, "float64")
    if predicted.shape[1] == 1:
        predicted = np.hstack([1 - predicted, predicted])
    return predicted / predicted.sum(axis=1, keepdims=True)
