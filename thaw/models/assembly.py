"""Assemble preprocessing, backbone and head as one Keras model."""

from pathlib import Path
from typing import Any

import numpy as np

from thaw.models import logistic
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.bundle import ModelBundle
from thaw.models.loading import load_keras_model
from thaw.runtime.tensorflow import keras


def assemble(bundle: ModelBundle, allowed: tuple[str, ...] = ()) -> keras.Model:
    """Return a model from uint8 pixels (batch, height, width, channels) to class probabilities
    (batch, classes), float32.

    Args:
        bundle: a model in a folder, not a packaged one.
        allowed: as in thaw.models.loading.load_keras_model.

    Raises:
        UserError: the model's file is not one that this version can read.
    """
    pixels = keras.Input(bundle.shape, dtype="uint8", name="pixels")  # (batch, h, w, channels)
    if bundle.backbone is None or bundle.weights is None:
        return keras.Model(pixels, class_probabilities(_load_named(bundle.path, allowed)(pixels)))
    frozen = FrozenBackbone(bundle.backbone, bundle.weights, bundle.shape, thaw_from=None)
    # (batch, h, w, c), rounded to the type in which features are stored
    features = keras.ops.cast(frozen.network(pixels), frozen.dtype)
    features = keras.ops.cast(features, "float32")
    return keras.Model(pixels, _apply_head(features, bundle.path, allowed))


def assemble_parts(
    bundle: ModelBundle, allowed: tuple[str, ...] = ()
) -> tuple[FrozenBackbone, keras.Model]:
    """Return the two parts of a model that reads features, so that the backbone's engine computes
    them.

    Args:
        bundle: a model in a folder, with a backbone.
        allowed: as in thaw.models.loading.load_keras_model.

    Returns:
        The backbone, and a model from features (batch, height, width, channels), float32, to class
        probabilities (batch, classes), float32.

    Raises:
        UserError: the model's file is not one that this version can read.
    """
    assert bundle.backbone is not None
    assert bundle.weights is not None
    frozen = FrozenBackbone(bundle.backbone, bundle.weights, bundle.shape, thaw_from=None)
    features = keras.Input(frozen.network.output_shape[1:])
    return frozen, keras.Model(features, _apply_head(features, bundle.path, allowed))


def _apply_head(features: Any, folder: Path, allowed: tuple[str, ...]) -> Any:
    """Return the class probabilities (batch, classes) that the head in `folder` computes."""
    if (folder / "model.npz").exists():
        return _apply_logistic(features, folder / "model.npz")
    return class_probabilities(_load_named(folder, allowed)(features))


def _load_named(folder: Path, allowed: tuple[str, ...]) -> keras.Model:
    model = load_keras_model(folder / "model.keras", allowed)
    # a name with a number, as Keras gives them, could occur twice in the assembled model
    return keras.Model(model.inputs[0], model.outputs[0], name="trained")


def class_probabilities(output: Any) -> Any:
    """Return a tensor of class probabilities (batch, classes), whose rows sum to 1.

    It does in a Keras model what thaw.models.layers.to_probabilities does with arrays.

    Args:
        output: tensor of an output layer, (batch, 1) of a sigmoid unit or (batch, classes).
    """
    if output.shape[-1] == 1:
        output = keras.ops.concatenate([1.0 - output, output], axis=-1)
    return output / keras.ops.sum(output, axis=-1, keepdims=True)


def _apply_logistic(features: Any, path: Path) -> Any:
    """Return the class probabilities (batch, classes) of the logistic model in `path`, computed
    by Keras layers from features (batch, height, width, channels).
    """
    model = logistic.load(path)
    count, inputs = model["coefficients"].shape
    feature_map = keras.Input(features.shape[1:])
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(feature_map)  # (batch, channels)
    if inputs > x.shape[-1]:
        maxima = keras.layers.GlobalMaxPooling2D(dtype="float32")(feature_map)
        x = keras.layers.Concatenate(dtype="float32")([x, maxima])  # (batch, inputs)
    # one layer of the assembled model, so that Grad-CAM sees a chain of layers
    x = keras.Model(feature_map, x, name="pooling")(features)
    standard = keras.layers.Normalization(dtype="float32", name="standard")
    standard.build((None, inputs))
    standard.set_weights([model["mean"], model["scale"] ** 2, np.zeros(())])
    standard.finalize_state()
    layer = keras.layers.Dense(
        count, activation="sigmoid" if count == 1 else "softmax", dtype="float32", name="output"
    )
    output = layer(standard(x))  # (batch, 1 or classes)
    layer.set_weights([model["coefficients"].T, model["intercept"]])
    return class_probabilities(output)
