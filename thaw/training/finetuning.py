"""Fine-tune the last layers of a backbone, on cached outputs of its frozen part or end to end."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.finetuning import Finetune
from thaw.config.runtime import selected_runtime
from thaw.config.subnet import DenseHead, trained_head
from thaw.config.training import Augmentation
from thaw.data.augmentation import distinct_views, flips, random_flips, random_layers
from thaw.errors import UserError
from thaw.models import logistic
from thaw.models.backbones.filling import filler
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.layers import to_probabilities
from thaw.models.loading import load_keras_model
from thaw.models.subnet import build_logistic, build_subnet
from thaw.runtime.tensorflow import keras, make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.store import store_root
from thaw.training.batches import Inputs
from thaw.training.gradients import sum_in_float32
from thaw.training.losses import LossTerms

START_IMAGES = 64  # images on which the assembled model is compared with the subnet
# Largest difference of a probability between the subnet on its features and on its backbone.
# bfloat16 keeps 8 significant bits, and the split changes the order of its sums.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}
# The same if OpenVINO computes the frozen part in bfloat16 and TensorFlow the rest. They round
# differently: up to 0.046 was seen for EfficientNet-Lite0. Wrong preprocessing gives 0.5 and more.
TWO_ENGINES = 0.1


class CachedViews:
    """Outputs of the frozen part for images and their augmented views, in the store.

    Args:
        frozen: the frozen part.
        images: the decoded images.
        parameters: of the fine-tuning.
    """

    def __init__(self, frozen: FrozenBackbone, images: ArrayFolder, parameters: Finetune) -> None:
        self.frozen, self.images = frozen, images
        self.views = distinct_views(parameters.augmentation, parameters.augmented_views)
        self.augmentation = parameters.augmentation
        self.image_store = frozen.store()
        self.view_store = frozen.store(augmentation=parameters.augmentation.model_dump())

    def fill(self, augmented: pd.DataFrame, plain: pd.DataFrame) -> None:
        """Compute and store the outputs that are missing.

        Args:
            augmented: rows of the split whose images are needed in all views.
            plain: rows whose images are needed only as they are.

        Raises:
            UserError: the disk has too little space.
        """
        # sorted, so that a worker of a cluster reads adjacent images
        keys = sorted({*augmented["pixel_sha256"], *plain["pixel_sha256"]})
        of_views = sorted({*augmented["pixel_sha256"]})
        view_keys = [f"{key}-{n}" for n in range(1, self.views) for key in of_views]
        missing = len(self.image_store.missing(keys)) + len(self.view_store.missing(view_keys))
        shape = self.frozen.network.output_shape[1:]
        size = missing * int(np.prod(shape)) * np.dtype(self.frozen.dtype).itemsize
        free = shutil.disk_usage(store_root()).free
        print(f"frozen part: {missing:,} outputs to compute, {size / 1e9:.2f} GB in the store")
        if size > free:
            raise UserError(
                f"{size / 1e9:.1f} GB are needed in {store_root()} and {free / 1e9:.1f} GB are "
                f"free. Lower augmented_views, choose precision=bfloat16 (half the size), thaw "
                f"later, or train with cached=false."
            )
        with filler(selected_runtime(), self.frozen, self.images, self.augmentation) as fill:
            fill(self.image_store, keys, "frozen part")
            fill(self.view_store, view_keys, "frozen part, views")
        for store, wanted in ((self.image_store, keys), (self.view_store, view_keys)):
            store.missing(wanted)  # downloads what workers computed, several shards at once
            store.share(wanted)

    def plain(self, rows: pd.DataFrame) -> Inputs:
        """Return inputs for Batches: the outputs for the images themselves."""
        keys = rows["pixel_sha256"].to_list()
        return lambda n, _: _stack(self.image_store[keys[i]] for i in n)

    def augmented(self, rows: pd.DataFrame) -> Inputs:
        """Return inputs for Batches: in each epoch, the output for a random view of each image."""
        keys = rows["pixel_sha256"].to_list()

        def random_views(n: np.ndarray, random: np.random.Generator) -> np.ndarray:
            views = random.integers(self.views, size=len(n))
            return _stack(self._output(keys[i], view) for i, view in zip(n, views, strict=True))

        return random_views

    def _output(self, key: str, view: int) -> np.ndarray:
        return self.view_store[f"{key}-{view}"] if view else self.image_store[key]


def _stack(outputs: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack(list(outputs)).astype("float32")


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
        rows: of the split, the images to compare on.
        name: of the subnet.
        features: the backbone's name, a folder in data/features/.
        backbone: its parameters.

    Raises:
        UserError: the probabilities differ.
    """
    selected = ArrayFolder(f"data/features/{features}").select(rows["pixel_sha256"])
    worst = 0.0
    outputs = cache.plain(rows)
    for start in range(0, len(rows), 64):
        batch = np.arange(start, min(start + 64, len(rows)))
        on_features = subnet.predict_on_batch(selected[batch].astype("float32"))
        assembled = end.predict_on_batch(outputs(batch, np.random.default_rng()))
        difference = to_probabilities(assembled) - to_probabilities(on_features)
        worst = max(worst, float(np.abs(difference).max()))
    tolerance = TOLERANCE[backbone.precision]
    if backbone.engine == "openvino" and backbone.precision == "bfloat16":
        tolerance = TWO_ENGINES
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
