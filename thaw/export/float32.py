"""A trained model in plain float32, whatever precision the pipeline computes it in."""

from collections.abc import Iterator
from dataclasses import replace

from thaw.config.dataset import Image
from thaw.models.assembly import assemble
from thaw.models.bundle import ModelBundle
from thaw.models.resizing import resize_pictures
from thaw.runtime.tensorflow import keras


def in_float32(trained: ModelBundle, allowed: tuple[str, ...] = ()) -> keras.Model:
    """From uint8 pixels (batch, size, size, channels) to class probabilities (batch, classes), with
    the same weights as `assembled` and every layer computing in float32. Other runtimes know no
    layers of mixed precision, and bfloat16 there is a choice of whoever runs it.

    Raises:
        UserError: as `assembled`.
    """
    if trained.backbone:
        plain = trained.backbone.model_copy(update={"precision": "float32"})
        trained = replace(trained, backbone=plain)
    model = assemble(trained, allowed)
    if precision(model) == "float32":
        return model
    same = keras.Model.from_config(_plain(model.get_config()))
    same.set_weights(model.get_weights())
    for layer in _layers(same):
        if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
            layer.finalize_state()
    return same


def precision(model: keras.Model) -> str:
    """float32, or another type that some layer computes in."""
    found = {layer.compute_dtype for layer in _layers(model)} - {"float32", "uint8"}
    return min(found, default="float32")


def of_pictures(model: keras.Model, image: Image) -> keras.Model:
    """`model` behind the pipeline's resizing: from uint8 RGB pictures of any size."""
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    return keras.Model(
        pictures,
        model(resize_pictures(pictures, image.size, image.resampling, image.colour)),
        name="thaw",
    )


def _plain(config):
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        # an Input within has its type by name, and rounds what it is given to that
        types = {"dtype": "float32"} if config.get("dtype") == "bfloat16" else {}
        return {key: _plain(value) for key, value in config.items()} | types
    if isinstance(config, list | tuple):
        return type(config)(_plain(value) for value in config)
    return config


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
