"""Grad-CAM: where in an image a network saw a class.

The channels of the last feature map are summed, each weighted by the gradient of the class's score.
Negative sums, which speak against the class, become zero.

Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization".
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from thaw.config.subnet import DenseHead
from thaw.models.subnet import ACTIVATIONS, dense_weights

CHUNK_ROWS = 64  # feature maps that are in memory at a time
PIXEL_BATCH_SIZE = 16  # images per pass of a network with gradients, which take more memory

# the derivatives of thaw.models.subnet.ACTIVATIONS
DERIVATIVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: (x > 0).astype("float32"),
    "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    "gelu": lambda x: (1 + erf(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
}


def of_subnet(
    subnet: DenseHead, path: str | Path, features: Any, classes: np.ndarray
) -> np.ndarray:
    """Return the maps (n, height, width) of a subnet on features, computed by NumPy.

    Args:
        subnet: the head's settings.
        path: the .keras file of a subnet that thaw.models.subnet.build_subnet built.
        features: (n, height, width, channels), an array or thaw.storage.arrays.Selection.
        classes: (n,), the number of the class to explain in each image.
    """
    layers = dense_weights(path)
    maps = []
    for start in range(0, len(features), CHUNK_ROWS):
        chunk = features[start : start + CHUNK_ROWS].astype("float32")
        count, height, width, channels = chunk.shape
        averaged = subnet.pooling == "average"
        x = chunk.mean(axis=(1, 2)) if averaged else chunk.reshape(count, -1)
        sums = []
        for kernel, bias in layers[:-1]:
            sums.append(x @ kernel + bias)  # (n, units)
            x = ACTIVATIONS[subnet.activation](sums[-1])
        gradient = _score_gradient(classes[start : start + CHUNK_ROWS], layers[-1][0].shape[1])
        gradient = gradient @ layers[-1][0].T
        for (kernel, _), layer_sums in zip(layers[-2::-1], sums[::-1], strict=True):
            gradient = (gradient * DERIVATIVES[subnet.activation](layer_sums)) @ kernel.T
        if averaged:
            gradient = gradient / (height * width)  # each position's share of the average
        else:
            gradient = gradient.reshape(count, height * width, channels).mean(axis=1)
        maps.append(_weighted_map(chunk, gradient))
    return np.concatenate(maps)


def of_logistic(model: dict[str, np.ndarray], features: Any, classes: np.ndarray) -> np.ndarray:
    """Return the maps (n, height, width) of a logistic model on features.

    Args:
        model: as thaw.models.logistic.load returns it.
        features: (n, height, width, channels), an array or thaw.storage.arrays.Selection.
        classes: (n,), the number of the class to explain in each image.
    """
    outputs = len(model["coefficients"])
    slopes = (model["coefficients"] / model["scale"]).reshape(outputs, -1, features.shape[-1])
    # (channels, outputs); a maximum's gradient averages over positions like that of an average
    slopes = slopes.sum(axis=1).T
    maps = []
    for start in range(0, len(features), CHUNK_ROWS):
        chunk = features[start : start + CHUNK_ROWS].astype("float32")
        gradient = _score_gradient(classes[start : start + CHUNK_ROWS], slopes.shape[1])
        maps.append(_weighted_map(chunk, gradient @ slopes.T / np.prod(chunk.shape[1:3])))
    return np.concatenate(maps)


def _score_gradient(classes: np.ndarray, outputs: int) -> np.ndarray:
    """Return the gradient (n, outputs) of each class's score with respect to the outputs before
    their activation. One sigmoid unit counts for class 1 and against class 0.
    """
    if outputs == 1:
        return np.where(classes == 1, 1.0, -1.0)[:, None].astype("float32")
    return np.eye(outputs, dtype="float32")[classes]


def _weighted_map(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the positive part (n, height, width) of the sum of channels.

    Args:
        features: (n, height, width, channels).
        weights: (n, channels).
    """
    return np.maximum(np.einsum("nhwc,nc->nhw", features, weights.astype("float32")), 0)


class GradCam:
    """Grad-CAM maps of a network that reads pixels.

    Args:
        model: keras.Model from one input to one output layer. If it averages the outputs for an
            image and its mirror images, the maps are of the image itself.
    """

    def __init__(self, model: Any) -> None:
        layers = _chain(model)
        first = next((n for n, layer in enumerate(layers) if layer.weights), len(layers))
        maps = [n for n, layer in enumerate(layers) if n >= first and _is_map(layer.output)]
        self._split = maps[-1] + 1 if maps else None
        self._layers = layers

    def __call__(self, pixels: Any, classes: np.ndarray) -> np.ndarray | None:
        """Return maps (n, height, width), or None if the network has no feature map but its input.

        Args:
            pixels: (n, height, width, channels), uint8.
            classes: (n,), the number of the class to explain in each image.
        """
        if self._split is None or not len(pixels):
            return None
        from thaw.runtime.tensorflow import tf

        below, (*above, output) = self._layers[: self._split], self._layers[self._split :]
        maps = []
        for start in range(0, len(pixels), PIXEL_BATCH_SIZE):
            feature_map = tf.convert_to_tensor(pixels[start : start + PIXEL_BATCH_SIZE])
            for layer in below:
                feature_map = layer(feature_map, training=False)  # (batch, h, w, c)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(feature_map)
                x = feature_map
                for layer in above:
                    x = layer(x, training=False)
                x = tf.cast(x, "float32") @ output.kernel + output.bias  # before the activation
                batch_classes = classes[start : start + PIXEL_BATCH_SIZE]
                score = tf.reduce_sum(x * _score_gradient(batch_classes, x.shape[1]))
            gradient = tf.cast(tape.gradient(score, feature_map), "float32")
            weights = tf.reduce_mean(gradient, axis=(1, 2))  # (batch, c)
            maps.append(_weighted_map(tf.cast(feature_map, "float32").numpy(), weights.numpy()))
        return np.concatenate(maps)


def _is_map(tensor: Any) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[1] > 1 and tensor.shape[2] > 1


def _chain(model: Any) -> list[Any]:
    """Return layers from input to output, each of which reads only the output of the one before.

    Nested models with weights are replaced by their layers if these form a chain. Other models are
    split where their last feature map ends.
    """
    from thaw.runtime.tensorflow import keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if isinstance(layers[-1], keras.layers.Average):  # of flips: its models read the image first
        layers = [layer for layer in layers if isinstance(layer, keras.Model)]
    elif not _is_chain(model, layers):
        ends = [n for n, layer in enumerate(layers) if _ends_map(layer)]
        *_, output = layers
        if _is_map(model.output) or not hasattr(output, "kernel"):
            return [model]
        if not ends:  # its inputs are vectors, or maps of one pixel
            return [keras.Model(model.inputs[0], output.input), output]
        tensor = layers[ends[-1]].input
        above = keras.Model(tensor, output.input)
        return [keras.Model(model.inputs[0], tensor), above, output]
    chain = []
    for layer in layers:
        is_trained_model = isinstance(layer, keras.Model) and layer.weights
        chain += _chain(layer) if is_trained_model else [layer]
    return chain


def _is_chain(model: Any, layers: list[Any]) -> bool:
    tensor = model.inputs[0]
    for layer in layers:
        nodes = layer._inbound_nodes
        inputs = [node.input_tensors for node in nodes]
        if len(layers) != len(model.operations) - 1 or [tensor] not in inputs:
            return False
        tensor = nodes[inputs.index([tensor])].output_tensors[0]
    return True


def _ends_map(layer: Any) -> bool:
    """Return whether a layer turns a feature map into a vector."""
    inputs = layer.input
    return not isinstance(inputs, list) and _is_map(inputs) and len(layer.output.shape) == 2
