"""Assemble a trained model in float32, whatever precision the pipeline uses."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from thaw.config.dataset import Image
from thaw.models.assembly import assemble
from thaw.models.bundle import ModelBundle
from thaw.models.resizing import resize_pictures
from thaw.runtime.tensorflow import keras


def assemble_in_float32(bundle: ModelBundle, allowed: tuple[str, ...] = ()) -> keras.Model:
    """Return a model in which every layer computes in float32.

    Other runtimes do not support Keras's layers of mixed precision. Whoever runs the export may
    choose bfloat16 in the runtime.

    Args:
        bundle: the trained model.
        allowed: classes that it may have, see thaw.models.loading.

    Returns:
        A model from pixels (batch, height, width, channels), uint8, to class probabilities
        (batch, classes), with the weights of `bundle`.

    Raises:
        UserError: the model cannot be assembled, see thaw.models.assembly.assemble.
    """
    if bundle.backbone:
        backbone = bundle.backbone.model_copy(update={"precision": "float32"})
        bundle = replace(bundle, backbone=backbone)
    model = assemble(bundle, allowed)
    if precision(model) == "float32":
        return model
    copy = keras.Model.from_config(_config_in_float32(model.get_config()))
    copy.set_weights(model.get_weights())
    for layer in _layers(copy):
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()
    return copy


def precision(model: keras.Model) -> str:
    """Return the type that the model computes in, "float32" unless some layer has another."""
    types = {layer.compute_dtype for layer in _layers(model)} - {"float32", "uint8"}
    return min(types, default="float32")


def with_resizing(model: keras.Model, image: Image) -> keras.Model:
    """Return the model behind the pipeline's resizing, from uint8 RGB pictures of any size."""
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    return keras.Model(
        pictures,
        model(resize_pictures(pictures, image.size, image.resampling, image.colour, image.fit)),
        name="thaw",
    )


def _config_in_float32(config: Any) -> Any:
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        # the Input of a nested model has a plain dtype, to which it rounds its values
        types = {"dtype": "float32"} if config.get("dtype") == "bfloat16" else {}
        return {key: _config_in_float32(value) for key, value in config.items()} | types
    if isinstance(config, list | tuple):
        return type(config)(_config_in_float32(value) for value in config)
    return config


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
