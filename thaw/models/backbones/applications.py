"""Backbones: networks by name, their preprocessing, and where they can be split.

A name is a class of keras.applications, or one of OWN, which Thaw builds itself.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.base import did_you_mean
from thaw.config.dataset import Size, height_width
from thaw.errors import UserError
from thaw.models.backbones import efficientnet_lite
from thaw.runtime.tensorflow import compute_precision, keras
from thaw.storage.npz import load_npz

OWN = efficientnet_lite.VARIANTS


def known_applications() -> list[str]:
    """Return the names that `backbones.NAME.application` accepts."""
    return [*(name for name in dir(keras.applications) if name[0].isupper()), *OWN]


def build_application(name: str, size: Size | None, top: bool = False) -> keras.Model:
    """Return a network with random weights.

    Args:
        name: such as VGG16 or EfficientNetLite0.
        size: height and width of its input, pixels; None for the size it was trained on.
        top: include the classifier of ImageNet's 1,000 classes, which keras.applications has for
            that size alone.

    Returns:
        A model from preprocessed pixels (batch, height, width, 3) to the last feature map
        (batch, height, width, channels), or to class probabilities (batch, 1000).

    Raises:
        UserError: there is no such network, or it does not accept this size.
    """
    known = known_applications()
    if name not in known:
        raise UserError(
            f"{name!r} is no network of keras.applications or Thaw.{did_you_mean(name, known)}"
        )
    if name in OWN:
        return efficientnet_lite.build(name, size or OWN[name].size, top)
    shape = (*height_width(size), 3) if size else None
    try:
        return getattr(keras.applications, name)(weights=None, include_top=top, input_shape=shape)
    except ValueError as error:
        raise UserError(
            f"dataset.image.size = {size}: {name} does not accept it. {error}"
        ) from None


def named_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the model's weights by variable path, float32, in Keras's order."""
    return {variable.path: np.asarray(variable, "float32") for variable in model.weights}


def load_backbone(name: str, size: Size, weights: str | Path, precision: str) -> keras.Model:
    """Return a network with the weights that stage weights@NAME stored.

    Args:
        name: such as VGG16 or EfficientNetLite0.
        size: height and width of its input, pixels.
        weights: the .npz file.
        precision: of its arithmetic, float32 or bfloat16.

    Raises:
        UserError: the file contains the weights of another network.
    """
    with compute_precision(precision):
        model = build_application(name, size)
    tensors = load_npz(weights)
    expected = [(variable.path, tuple(variable.shape)) for variable in model.weights]
    if expected != [(path, values.shape) for path, values in tensors.items()]:
        raise UserError(f"{weights} does not contain the weights of {name}.")
    assign_tensors(tensors, model)
    return model


def assign_tensors(tensors: Mapping[str, np.ndarray], model: keras.Model) -> None:
    """Set the weights of `model` to `tensors`, which are stored by variable path."""
    _set_weights(model, [tensors[variable.path] for variable in model.weights])


def copy_in_float32(model: keras.Model, name: str) -> keras.Model:
    """Return a copy of a network that computes in float32.

    Args:
        model: from `load_backbone`.
        name: of the network, such as VGG16.
    """
    with compute_precision("float32"):
        copy = build_application(name, model.input_shape[1])
    # by position: Keras may give a layer of the second network in a process another name
    _set_weights(copy, model.get_weights())
    return copy


def _set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    model.set_weights(weights)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()


def preprocess(name: str, pixels: Any) -> Any:
    """Return pixels (batch, height, width, 3), float32, in the range that a network expects.

    Args:
        name: of the network, such as VGG16.
        pixels: (batch, height, width, 3), float32 in 0..255.
    """
    if name in OWN:
        return efficientnet_lite.preprocess(pixels)
    module = sys.modules[getattr(keras.applications, name).__module__]
    return module.preprocess_input(pixels, data_format="channels_last")


def preprocess_pixels(pixels: Any, application: str, scheme: str) -> Any:
    """Return the input of a backbone, (batch, height, width, 3), float32 at every precision.

    In a model these are plain Keras operations, so that Keras alone can load it.

    Args:
        pixels: (batch, height, width, 1 or 3), uint8: an array, or a tensor of a model.
        application: name of the network, such as VGG16.
        scheme: `own` for the application's preprocessing, `rescale` to divide pixels by 255.
    """
    pixels = keras.ops.cast(pixels, "float32")
    if pixels.shape[-1] == 1:
        pixels = keras.ops.repeat(pixels, 3, axis=-1)  # (batch, height, width, 3)
    return pixels / 255.0 if scheme == "rescale" else preprocess(application, pixels)


def split_points(model: keras.Model) -> list[str]:
    """Return the names of the layers at which `model` can be split, in order.

    Such a layer has one input tensor, and no other tensor leads from the layers before it to it or
    to later layers.
    """
    operations = model.operations  # layers, and what `+` and other operators made
    order = {id(operation): position for position, operation in enumerate(operations)}
    reach = [0] * len(operations)  # position of the last operation that reads this one's output
    for position, operation in enumerate(operations):
        for node in operation._inbound_nodes:
            for tensor in node.input_tensors:
                source = order.get(id(tensor._keras_history.operation))
                if source is not None:
                    reach[source] = max(reach[source], position)
    names = []
    for position, layer in enumerate(operations[1:], start=1):
        crossing = [source for source in range(position) if reach[source] >= position]
        one_input = not isinstance(layer.input, list) or len(layer.input) == 1
        if isinstance(layer, keras.layers.Layer) and one_input and len(crossing) == 1:
            names.append(layer.name)
    return names


def split_at(model: keras.Model, thaw_from: str | None) -> tuple[keras.Model, keras.Model]:
    """Return the frozen part and the thawed part of `model`, which share its layers.

    Args:
        model: from `build_application` or `load_backbone`.
        thaw_from: the first layer of the thawed part. None freezes the whole model; the thawed
            part then returns its input.

    Raises:
        UserError: the model cannot be split at that layer.
    """
    if thaw_from is None:
        features = keras.Input(model.output_shape[1:])
        return model, keras.Model(features, keras.layers.Identity()(features))
    possible = split_points(model)
    if thaw_from not in possible:
        raise UserError(f"thaw_from = {thaw_from!r}: expected one of {', '.join(possible)}.")
    tensor = model.get_layer(thaw_from).input
    return keras.Model(model.input, tensor), keras.Model(tensor, model.output)
