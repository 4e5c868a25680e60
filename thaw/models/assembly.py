"""A trained model and what comes before it as one network of Keras."""

from pathlib import Path

import numpy as np

from thaw.models import logistic
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.bundle import ModelBundle
from thaw.models.loading import load_keras_model
from thaw.runtime.tensorflow import keras


def assemble(trained: ModelBundle, allowed: tuple[str, ...] = ()) -> keras.Model:
    """From uint8 pixels (batch, size, size, channels) to class probabilities (batch, classes),
    float32.

    Args:
        allowed: as thaw.models.loading.

    Raises:
        UserError: the model's file is none that this version reads.
    """
    size = trained.image.size
    shape = (size, size, 3 if trained.image.colour == "rgb" else 1)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    if trained.backbone is None:
        return keras.Model(
            pixels, class_probabilities(_stored(trained.path / "model.keras", allowed)(pixels))
        )
    frozen = FrozenBackbone(trained.backbone, trained.weights, shape, thaw_from=None)
    features = keras.ops.cast(frozen.network(pixels), frozen.dtype)  # as they are stored
    features = keras.ops.cast(features, "float32")
    if (trained.path / "model.npz").exists():
        return keras.Model(pixels, _logistic(features, trained.path / "model.npz"))
    return keras.Model(
        pixels, class_probabilities(_stored(trained.path / "model.keras", allowed)(features))
    )


def _stored(path: Path, allowed: tuple[str, ...]) -> keras.Model:
    held = load_keras_model(path, allowed)
    return keras.Model(held.inputs[0], held.outputs[0], name="trained")  # a number might be taken


def class_probabilities(given):
    """What an output layer gives, (batch, 1) or (batch, classes), as a probability for each class
    (batch, classes); thaw.models.layers.to_probabilities says the same of arrays."""
    if given.shape[-1] == 1:
        given = keras.ops.concatenate([1.0 - given, given], axis=-1)
    return given / keras.ops.sum(given, axis=-1, keepdims=True)


def _logistic(features, path: Path):
    """The logistic model on features (batch, height, width, channels), as layers."""
    model = logistic.load(path)
    count, inputs = model["coefficients"].shape
    held = keras.Input(features.shape[1:])
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(held)  # (batch, channels)
    if inputs > x.shape[-1]:
        maxima = keras.layers.GlobalMaxPooling2D(dtype="float32")(held)
        x = keras.layers.Concatenate(dtype="float32")([x, maxima])  # (batch, inputs)
    x = keras.Model(held, x, name="pooling")(features)  # one step, for who follows them
    standard = keras.layers.Normalization(dtype="float32", name="standard")
    standard.build((None, inputs))
    standard.set_weights([model["mean"], model["scale"] ** 2, np.zeros(())])
    standard.finalize_state()
    output = keras.layers.Dense(
        count, activation="sigmoid" if count == 1 else "softmax", dtype="float32", name="output"
    )
    given = output(standard(x))
    output.set_weights([model["coefficients"].T, model["intercept"]])
    return class_probabilities(given)
