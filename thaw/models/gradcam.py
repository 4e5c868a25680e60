"""Where in an image a network saw a class: Grad-CAM.

A feature map's channels are summed, each weighted by how much the class's score rises with it, and
what speaks against the class is cut off. The map is the last one that still has a place for each
part of the image.

Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization".
"""

from pathlib import Path

import numpy as np
from scipy.special import erf

from thaw.config.subnet import DenseHead
from thaw.models.subnet import ACTIVATIONS, dense_weights

AT_ONCE = 64
PIXELS_AT_ONCE = 16

SLOPES = {
    "relu": lambda x: (x > 0).astype("float32"),
    "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    "gelu": lambda x: (1 + erf(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
}
"""The derivatives of thaw.models.subnet.ACTIVATIONS."""


def of_subnet(subnet: DenseHead, path: str | Path, features, classes: np.ndarray) -> np.ndarray:
    """Maps (n, height, width) of a subnet that reads these features; by NumPy.

    Args:
        path: the .keras file of a subnet that thaw.models.subnet.build_subnet made.
        features: (n, height, width, channels).
        classes: (n,) the class that is looked for in each.
    """
    layers = dense_weights(path)
    found = []
    for start in range(0, len(features), AT_ONCE):
        held = features[start : start + AT_ONCE].astype("float32")
        count, height, width, channels = held.shape
        averaged = subnet.pooling == "average"
        x = held.mean(axis=(1, 2)) if averaged else held.reshape(count, -1)
        sums = []
        for kernel, bias in layers[:-1]:
            sums.append(x @ kernel + bias)
            x = ACTIVATIONS[subnet.activation](sums[-1])
        slope = _wanted(classes[start : start + AT_ONCE], layers[-1][0].shape[1])
        slope = slope @ layers[-1][0].T
        for (kernel, _), before in zip(layers[-2::-1], sums[::-1], strict=True):
            slope = (slope * SLOPES[subnet.activation](before)) @ kernel.T
        if averaged:
            slope = slope / (height * width)  # each place has this part in the mean
        else:
            slope = slope.reshape(count, height * width, channels).mean(axis=1)
        found.append(_map(held, slope))
    return np.concatenate(found)


def of_logistic(model: dict[str, np.ndarray], features, classes: np.ndarray) -> np.ndarray:
    """Maps (n, height, width) of what thaw.models.logistic fitted; as `of_subnet`."""
    outputs = len(model["coefficients"])
    slopes = (model["coefficients"] / model["scale"]).reshape(outputs, -1, features.shape[-1])
    slopes = slopes.sum(axis=1).T  # (channels, outputs): means over places
    found = []
    for start in range(0, len(features), AT_ONCE):
        held = features[start : start + AT_ONCE].astype("float32")
        wanted = _wanted(classes[start : start + AT_ONCE], slopes.shape[1])
        found.append(_map(held, wanted @ slopes.T / np.prod(held.shape[1:3])))
    return np.concatenate(found)


def _wanted(classes: np.ndarray, outputs: int) -> np.ndarray:
    """The slope of the wanted class's score by each output before its activation, (n, outputs):
    one sigmoid unit speaks for class 1 and against class 0."""
    if outputs == 1:
        return np.where(classes == 1, 1.0, -1.0)[:, None].astype("float32")
    return np.eye(outputs, dtype="float32")[classes]


def _map(held: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Channels (n, height, width, channels) summed by their slopes (n, channels)."""
    return np.maximum(np.einsum("nhwc,nc->nhw", held, slope.astype("float32")), 0)


class GradCam:
    """Maps of a network that reads pixels.

    Args:
        model: a network of Keras from one input to one output layer; if it averages the answers
            for an image and its mirror images, the image itself is looked at.
    """

    def __init__(self, model):
        layers = _straight(model)
        learnt = next((n for n, layer in enumerate(layers) if layer.weights), len(layers))
        places = [n for n, layer in enumerate(layers) if n >= learnt and _is_map(layer.output)]
        self._split = places[-1] + 1 if places else None
        self._layers = layers

    def __call__(self, pixels, classes: np.ndarray) -> np.ndarray | None:
        """Maps (n, height, width); none where the network has no feature map but the pixels.

        Args:
            pixels: (n, height, width, channels), uint8.
            classes: (n,) the class that is looked for in each.
        """
        if self._split is None or not len(pixels):
            return None
        from thaw.runtime.tensorflow import tf

        below, (*above, last) = self._layers[: self._split], self._layers[self._split :]
        found = []
        for start in range(0, len(pixels), PIXELS_AT_ONCE):
            held = tf.convert_to_tensor(pixels[start : start + PIXELS_AT_ONCE])
            for layer in below:
                held = layer(held, training=False)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(held)
                x = held
                for layer in above:
                    x = layer(x, training=False)
                x = tf.cast(x, "float32") @ last.kernel + last.bias  # without the activation
                some = classes[start : start + PIXELS_AT_ONCE]
                score = tf.reduce_sum(x * _wanted(some, x.shape[1]))
            slope = tf.reduce_mean(tf.cast(tape.gradient(score, held), "float32"), axis=(1, 2))
            found.append(_map(tf.cast(held, "float32").numpy(), slope.numpy()))
        return np.concatenate(found)


def _is_map(tensor) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[1] > 1 and tensor.shape[2] > 1


def _straight(model) -> list:
    """The layers from input to output, each reading what the one before gives: models within are
    opened where they are such a chain, else cut where their last map ends; one that has learnt
    nothing is a step."""
    from thaw.runtime.tensorflow import keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if isinstance(layers[-1], keras.layers.Average):  # of flips; the first call is the image's own
        layers = [layer for layer in layers if isinstance(layer, keras.Model)]
    elif not _is_chain(model, layers):
        ends = [n for n, layer in enumerate(layers) if _ends_map(layer)]
        if _is_map(model.output) or not ends:
            return [model]
        *_, last = layers
        tensor = layers[ends[-1]].input
        above = keras.Model(tensor, last.input)
        return [keras.Model(model.inputs[0], tensor), above, last]
    found = []
    for layer in layers:
        opened = isinstance(layer, keras.Model) and layer.weights
        found += _straight(layer) if opened else [layer]
    return found


def _is_chain(model, layers: list) -> bool:
    tensor = model.inputs[0]
    for layer in layers:
        nodes = layer._inbound_nodes
        given = [node.input_tensors for node in nodes]
        if len(layers) != len(model.operations) - 1 or [tensor] not in given:
            return False
        tensor = nodes[given.index([tensor])].output_tensors[0]
    return True


def _ends_map(layer) -> bool:
    """Whether a layer makes numbers without a place out of a map."""
    inputs = layer.input
    return not isinstance(inputs, list) and _is_map(inputs) and len(layer.output.shape) == 2
