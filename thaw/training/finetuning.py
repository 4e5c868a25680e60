"""Fine-tune the last layers of a backbone, on cached outputs of its frozen part or end to end."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.finetuning import Finetune
from thaw.config.subnet import DenseHead, trained_head
from thaw.config.training import Augmentation
from thaw.data.augmentation import flips, random_flips, random_layers
from thaw.errors import UserError
from thaw.models import logistic
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.backbones.views import CachedViews, flipped_views, largest_difference
from thaw.models.layers import to_probabilities
from thaw.models.loading import load_keras_model
from thaw.models.subnet import build_logistic, build_subnet
from thaw.runtime.tensorflow import keras, make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.training.batches import Inputs
from thaw.training.gradients import sum_in_float32
from thaw.training.losses import LossTerms

START_IMAGES = 64  # images on which the assembled model is compared with the subnet


def pixel_inputs(
    images: ArrayFolder, rows: pd.DataFrame, augmentation: Augmentation | None = None
) -> Inputs:
    """Return inputs for Batches: uint8 images, randomly flipped if there is an `augmentation`."""
    selected = images.select(rows["pixel_sha256"])
    if augmentation is None:
        return lambda n, _: selected[n]
    return lambda n, random: random_flips(selected[n], random, augmentation)


def assemble(
    frozen: FrozenBackbone, subnet: keras.Model, terms: LossTerms
) -> tuple[keras.Model, keras.Model]:
    """Connect the thawed layers and the subnet.

    Args:
        frozen: the backbone, split into its frozen and its thawed part.
        subnet: the trained head.
        terms: of the training loss.

    Returns:
        Two models that read outputs of the frozen part and share their weights: one with the
        subnet's output, and one with all outputs that the loss needs.
    """
    for layer in frozen.thawed.layers:
        # trained batch-norm statistics would no longer match the frozen part's
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    sum_in_float32(frozen.thawed)
    inputs = keras.Input(frozen.network.output_shape[1:], name="frozen")
    end = keras.Model(inputs, subnet(frozen.thawed(inputs)))
    with_loss_outputs = keras.Model(subnet.inputs, terms.outputs(subnet))
    return end, keras.Model(inputs, with_loss_outputs(frozen.thawed(inputs)))


def check_start(
    subnet: keras.Model,
    end: keras.Model,
    cache: CachedViews,
    rows: pd.DataFrame,
    name: str,
    features: str,
    backbone: Backbone,
) -> None:
    """Check that the assembled model predicts what the subnet predicts on its features.

    It fails if preprocessing or batch norm differ (see keras-team/keras#6386).

    Args:
        subnet: the trained head, which reads features.
        end: the thawed part and the subnet, which read outputs of the frozen part.
        cache: those outputs.
        rows: of the split, the images to compare on, few enough for one batch.
        name: of the subnet.
        features: the backbone's name, a folder in data/features/.
        backbone: its parameters.

    Raises:
        UserError: the probabilities differ.
    """
    keys = rows["pixel_sha256"].to_list()
    selected = ArrayFolder(f"data/features/{features}").select(keys)[:]
    on_features = subnet.predict_on_batch(selected.astype("float32"))
    assembled = end.predict_on_batch(cache.outputs(keys))
    difference = to_probabilities(assembled) - to_probabilities(on_features)
    worst = float(np.abs(difference).max())
    tolerance = largest_difference(backbone)
    print(f"the start agrees with {name} within {worst:.1e} (allowed: {tolerance:g})")
    if worst > tolerance:
        raise UserError(
            f"the assembled model's probabilities differ from those of {name} on its "
            f"features by {worst:.3f}, expected {tolerance:g} at most. Features and subnet must "
            f"come from this backbone. Compute them again: dvc repro finetune@NAME"
        )


def load_subnet(name: str, shape: tuple[int, ...]) -> keras.Model:
    """Return the trained subnet models/NAME as a model that can be trained further.

    A logistic regression becomes a dense layer: fine-tuning from a regularized linear probe
    distorts the pretrained features less than from a random or an overfitted head (Kumar et al.
    2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution").

    Args:
        name: of the subnet.
        shape: of the features that it reads, (height, width, channels).
    """
    folder = Path("models", name)
    if (folder / "model.npz").exists():
        return build_logistic(logistic.load(folder / "model.npz"), shape)
    return load_keras_model(folder / "model.keras")


def initial_weights(name: str, subnet: keras.Model, seed: int) -> list[np.ndarray]:
    """Return the weights that the subnet `name` had before its training."""
    record = json.loads(Path(f"models/{name}/record.json").read_text())
    head = trained_head(record["settings"], f"models/{name}/record.json")
    assert isinstance(head, DenseHead)  # thaw.composition refuses others
    make_deterministic(seed)
    shape, classes = subnet.input_shape[1:], len(record["classes"])
    return build_subnet(head, shape, classes).get_weights()


def on_augmented_pixels(
    frozen: FrozenBackbone, end: keras.Model, parameters: Finetune
) -> keras.Model:
    """Return the full network, which shears and zooms its uint8 pixels at random in training."""
    pixels = keras.Input(frozen.network.input_shape[1:], dtype="uint8", name="pixels")
    x = keras.ops.cast(pixels, "float32")
    for layer in random_layers(parameters.augmentation):
        x = layer(x)
    x = keras.ops.cast(keras.ops.round(keras.ops.clip(x, 0, 255)), "uint8")
    return keras.Model(pixels, end(frozen.network(x)))


def cached_flips(
    frozen: FrozenBackbone, images: ArrayFolder, validation: pd.DataFrame, parameters: Finetune
) -> CachedViews:
    """Return the views for `choose_flips`, with their outputs for the validation data in the store.

    They are computed before the training, so that a full disk or a kill does not cost its weights.

    Args:
        frozen: the frozen part.
        images: the decoded images.
        validation: rows of the split.
        parameters: of the fine-tuning.

    Raises:
        UserError: the disk has too little space.
    """
    averaged = parameters.test_time_augmentation and parameters.keep == "best"
    flipped = flipped_views(frozen, images, parameters.augmentation, averaged)
    if flipped.views > 1:
        flipped.fill(validation["pixel_sha256"])
    return flipped


def choose_flips(
    flipped: CachedViews, end: keras.Model, validation: pd.DataFrame, parameters: Finetune
) -> Finetune:
    """Turn test-time augmentation off if it makes the trained model worse on validation data.

    The trained model is not worse than its start on the images themselves. So the finished model
    is not worse than its start either. Without validation data, or if the last epoch is kept,
    nothing is chosen.

    Args:
        flipped: as returned by `cached_flips`.
        end: the trained thawed part and subnet.
        validation: rows of the split.
        parameters: of the fine-tuning.

    Returns:
        The parameters, with `test_time_augmentation` as chosen.
    """
    if flipped.views == 1:
        return parameters
    keys = validation["pixel_sha256"].to_list()
    ranks = []
    for views in (1, flipped.views):
        predicted = to_probabilities(flipped.averaged(end, keys, views))
        right = predicted[np.arange(len(keys)), validation["class"]]
        accuracy = float(np.mean(predicted.argmax(axis=1) == validation["class"]))
        loss = -float(np.log(np.maximum(right, np.finfo("float32").tiny)).mean())
        print(f"validation, {views} flips averaged: accuracy {accuracy:.4f}, log loss {loss:.4f}")
        ranks.append([accuracy, -loss] if parameters.monitor == "accuracy" else [-loss])
    if ranks[1] >= ranks[0]:
        return parameters
    print("averaging over flips is worse on validation data, so the model does not average")
    return parameters.model_copy(update={"test_time_augmentation": False})


def finished_model(frozen: FrozenBackbone, end: keras.Model, parameters: Finetune) -> keras.Model:
    """Return the model to save, from uint8 pixels (batch, height, width, channels).

    With test-time augmentation it averages the predictions for all flips of an image.
    """
    pixels = keras.Input(frozen.network.input_shape[1:], dtype="uint8", name="pixels")
    orientations = (
        flips(parameters.augmentation) if parameters.test_time_augmentation else [(False, False)]
    )
    predictions = []
    for vertical, horizontal in orientations:
        view = pixels
        for axis, flipped in ((1, vertical), (2, horizontal)):
            if flipped:
                view = keras.ops.flip(view, axis)  # older versions of Keras take one axis
        predictions.append(end(frozen.network(view)))
    if len(predictions) == 1:
        return keras.Model(pixels, predictions[0])
    return keras.Model(pixels, keras.layers.Average(dtype="float32")(predictions))
