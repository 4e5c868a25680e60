"""Backbones: networks of keras.applications without their tops, with their preprocessing."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thaw.config.base import did_you_mean
from thaw.errors import UserError
from thaw.runtime.tensorflow import compute_precision, keras
from thaw.storage.npz import load_npz


def build_application(name: str, size: int) -> keras.Model:
    """A network of keras.applications with random weights.

    Args:
        name: its class name, as VGG16.
        size: height and width of its input, pixels.

    Returns:
        A model from (batch, size, size, 3), preprocessed, to its last feature map.

    Raises:
        UserError: there is no such network, or it cannot take this size.
    """
    known = [n for n in dir(keras.applications) if n[0].isupper()]
    if name not in known:
        raise UserError(f"{name!r} is no network of keras.applications.{did_you_mean(name, known)}")
    try:
        return getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=(size, size, 3)
        )
    except ValueError as error:
        raise UserError(f"dataset.image.size = {size}: {name} cannot take it. {error}") from None


def named_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """The model's weights by variable path, float32, in Keras's order."""
    return {variable.path: np.asarray(variable, "float32") for variable in model.weights}


def load_backbone(name: str, size: int, weights: str | Path, precision: str) -> keras.Model:
    """An application with the weights that stage weights@B stored.

    Args:
        name: its class name, as VGG16.
        size: height and width of its input, pixels.
        weights: the .npz file.
        precision: of its arithmetic, float32 or bfloat16.

    Raises:
        UserError: the file holds the weights of another network.
    """
    with compute_precision(precision):
        model = build_application(name, size)
    held = load_npz(weights)
    if [(v.path, tuple(v.shape)) for v in model.weights] != [(n, w.shape) for n, w in held.items()]:
        raise UserError(f"{weights} does not hold the weights of {name}.")
    assign_tensors(held, model)
    return model


def assign_tensors(held: Mapping[str, np.ndarray], model: keras.Model) -> None:
    """Give `model` the weights that `held` has by variable path."""
    model.set_weights([held[variable.path] for variable in model.weights])
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()


def preprocess(name: str, pixels):
    """Pixels (batch, height, width, 3), float32 in 0..255, as application `name` wants them."""
    module = sys.modules[getattr(keras.applications, name).__module__]
    return module.preprocess_input(pixels, data_format="channels_last")


def preprocess_pixels(pixels, application: str, scheme: str):
    """uint8 pixels (batch, height, width, 1 or 3) as a backbone reads them: (batch, height, width,
    3), always float32. In a model these are plain operations, so that any Keras loads it.

    Args:
        pixels: an array, or a tensor of a model that is being made.
        application: whose preprocessing, as VGG16.
        scheme: `own` for that one, `rescale` for pixels by 1/255.
    """
    pixels = keras.ops.cast(pixels, "float32")
    if pixels.shape[-1] == 1:
        pixels = keras.ops.repeat(pixels, 3, axis=-1)
    return pixels / 255.0 if scheme == "rescale" else preprocess(application, pixels)


def split_points(model: keras.Model) -> list[str]:
    """The layers from which `model` can be thawed: those with one input tensor through which
    everything before them reaches everything from them on."""
    order = {layer.name: position for position, layer in enumerate(model.layers)}
    reach = [0] * len(model.layers)  # the last layer that reads this one's output
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                source = order.get(tensor._keras_history.operation.name)
                if source is not None and layer.name in order:
                    reach[source] = max(reach[source], order[layer.name])
    found = []
    for position in range(1, len(model.layers)):
        crossing = [s for s in range(position) if reach[s] >= position]
        layer = model.layers[position]
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        if len(crossing) == 1 and len(inputs) == 1:
            found.append(layer.name)
    return found


def split_at(model: keras.Model, thaw_from: str | None) -> tuple[keras.Model, keras.Model]:
    """`model` cut before the layer `thaw_from`: the frozen part and the thawed part, which share
    its layers. With none, all of it is frozen and the thawed part passes features through.

    Raises:
        UserError: more than one tensor leads into and past that layer.
    """
    if thaw_from is None:
        passing = keras.Input(model.output_shape[1:])
        return model, keras.Model(passing, keras.layers.Identity()(passing))
    possible = split_points(model)
    if thaw_from not in possible:
        raise UserError(f"thaw_from = {thaw_from!r}: expected one of {', '.join(possible)}.")
    tensor = model.get_layer(thaw_from).input
    return keras.Model(model.input, tensor), keras.Model(tensor, model.output)
