"""Subnets: small networks on bottleneck features, built by Keras and applied by NumPy."""

from pathlib import Path

import numpy as np
from scipy.special import erf, expit, softmax

from thaw.config.subnet import DenseHead
from thaw.models.layers import output_layer, to_probabilities
from thaw.models.loading import open_weights

AT_ONCE = 256


def build_subnet(subnet: DenseHead, shape: tuple[int, ...], classes: int):
    """A subnet from features (batch, height, width, channels) to the output layer, by Keras.

    Source: Chollet, "Building powerful image classification models using very little data", for
    Flatten, Dense 256, Dropout, sigmoid.
    """
    from thaw.runtime.tensorflow import keras

    regularizer = keras.regularizers.L1L2(subnet.l1, subnet.l2) if subnet.l1 or subnet.l2 else None
    features = keras.Input(shape, name="features")
    if subnet.pooling == "average":
        x = keras.layers.GlobalAveragePooling2D()(features)  # (batch, channels)
    else:
        x = keras.layers.Flatten()(features)  # (batch, height * width * channels)
    for number, units in enumerate(subnet.units, start=1):
        x = keras.layers.Dense(
            units,
            activation=subnet.activation,
            kernel_regularizer=regularizer,
            name=f"hidden{number}",
        )(x)
        if subnet.dropout:
            x = keras.layers.Dropout(subnet.dropout)(x)
    return keras.Model(features, output_layer(x, classes, subnet.output), name="subnet")


def predict_subnet(subnet: DenseHead, path: str | Path, features) -> np.ndarray:
    """Class probabilities (n, classes), float64: what Keras's predict says but for rounding, in a
    tenth of the time that TensorFlow takes to start.

    Args:
        path: the .keras file of a subnet that `build` made.
        features: (n, height, width, channels), an array or thaw.storage.arrays.Selection.
    """
    layers = dense_weights(path)
    given = []
    for start in range(0, len(features), AT_ONCE):
        x = features[start : start + AT_ONCE].astype("float32")
        x = x.mean(axis=(1, 2)) if subnet.pooling == "average" else x.reshape(len(x), -1)
        for kernel, bias in layers[:-1]:
            x = ACTIVATIONS[subnet.activation](x @ kernel + bias)
        kernel, bias = layers[-1]
        x = x @ kernel + bias
        given.append(to_probabilities(expit(x) if x.shape[1] == 1 else softmax(x, axis=1)))
    return np.concatenate(given)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2, dtype="float32"))) / 2,
    "tanh": np.tanh,
}
"""As keras.activations has them."""


def dense_weights(path: str | Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each dense layer, in order."""
    with open_weights(path) as file:
        layers = file["layers"]
        names = [name for name in layers if name.split("_")[0] == "dense"]
        names.sort(key=lambda name: int(name.partition("_")[2] or 0))  # dense, dense_1, ...
        return [(layers[name]["vars"]["0"][()], layers[name]["vars"]["1"][()]) for name in names]
