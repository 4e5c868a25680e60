"""Subnets: small networks on bottleneck features, built by Keras and applied by NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf, expit, softmax

from thaw.config.subnet import DenseHead
from thaw.models.layers import output_layer, to_probabilities
from thaw.models.loading import open_weights

CHUNK_ROWS = 256  # feature maps that are in memory at a time


def build_subnet(subnet: DenseHead, shape: tuple[int, ...], classes: int) -> Any:
    """Return a keras.Model from features (batch, height, width, channels) to the output layer,
    (batch, 1) for two classes (unless `output` is softmax) and (batch, classes) for more.

    Source: Chollet, "Building powerful image classification models using very little data", for
    Flatten, Dense 256, Dropout, sigmoid.
    """
    from thaw.runtime.tensorflow import keras

    regularizer = keras.regularizers.L1L2(subnet.l1, subnet.l2) if subnet.l1 or subnet.l2 else None
    features = keras.Input(shape, name="features")  # (batch, height, width, channels)
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
        )(x)  # (batch, units)
        if subnet.dropout:
            x = keras.layers.Dropout(subnet.dropout)(x)
    return keras.Model(features, output_layer(x, classes, subnet.output), name="subnet")


def build_logistic(model: dict[str, np.ndarray], shape: tuple[int, ...]) -> Any:
    """Return a logistic regression as a keras.Model with trained weights, to be trained further.

    Its output layer computes on features that are not standardized: mean and scale are part of its
    weights.

    Args:
        model: as thaw.models.logistic.load returns it.
        shape: of the features, (height, width, channels).

    Returns:
        A model from features (batch, height, width, channels) to probabilities, (batch, 1) for two
        classes and (batch, classes) for more.
    """
    from thaw.runtime.tensorflow import keras

    outputs, inputs = model["coefficients"].shape
    features = keras.Input(shape, name="features")  # (batch, height, width, channels)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(features)  # (batch, channels)
    if inputs > shape[-1]:
        maxima = keras.layers.GlobalMaxPooling2D(dtype="float32")(features)
        x = keras.layers.Concatenate(dtype="float32")([x, maxima])  # (batch, inputs)
    head = keras.Model(features, output_layer(x, max(2, outputs)), name="subnet")
    slopes = model["coefficients"] / model["scale"]
    head.get_layer("output").set_weights([slopes.T, model["intercept"] - slopes @ model["mean"]])
    return head


def predict_subnet(subnet: DenseHead, path: str | Path, features: Any) -> np.ndarray:
    """Return the class probabilities (n, classes), float64.

    They equal Keras's but for rounding, and take a tenth of the time that TensorFlow takes to
    start.

    Args:
        subnet: the head's settings.
        path: the .keras file of a subnet that `build_subnet` built.
        features: (n, height, width, channels), an array or thaw.storage.arrays.Selection.
    """
    *hidden, (output_kernel, output_bias) = dense_weights(path)
    chunks = []
    for start in range(0, len(features), CHUNK_ROWS):
        x = features[start : start + CHUNK_ROWS].astype("float32")
        x = x.mean(axis=(1, 2)) if subnet.pooling == "average" else x.reshape(len(x), -1)
        for kernel, bias in hidden:
            x = ACTIVATIONS[subnet.activation](x @ kernel + bias)  # (n, units)
        x = x @ output_kernel + output_bias  # (n, 1 or classes)
        chunks.append(to_probabilities(expit(x) if x.shape[1] == 1 else softmax(x, axis=1)))
    return np.concatenate(chunks)


# the functions of keras.activations with these names
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2, dtype="float32"))) / 2,
    "tanh": np.tanh,
}


def dense_weights(path: str | Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the kernel (inputs, units) and bias (units,) of each dense layer, in order.

    Args:
        path: the .keras file of a subnet that `build_subnet` built.
    """
    with open_weights(path) as file:
        layers = file["layers"]
        names = [name for name in layers if name.split("_")[0] == "dense"]
        names.sort(key=lambda name: int(name.partition("_")[2] or 0))  # dense, dense_1, ...
        return [(layers[name]["vars"]["0"][()], layers[name]["vars"]["1"][()]) for name in names]
