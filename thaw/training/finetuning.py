"""Fine-tune the thawed end of a backbone, from cached outputs of its frozen part or end to end."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.finetuning import Finetune
from thaw.config.runtime import selected_runtime
from thaw.config.subnet import trained_head
from thaw.config.training import Augmentation
from thaw.data.augmentation import distinct_views, flips, random_flips, random_layers, view_function
from thaw.errors import UserError
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.layers import to_probabilities
from thaw.models.subnet import build_subnet
from thaw.runtime.ray_workers import batch_runner
from thaw.runtime.tensorflow import keras, make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.store import store_root

START_IMAGES = 64
"""Images on which the start is held against the subnet."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}
"""Largest difference of a probability between the subnet on its features and the same subnet on
its backbone. bfloat16 keeps 8 bits of a number, and sums in another order where the cut is."""


class CachedViews:
    """The frozen part's outputs for the images and their views, in the store."""

    def __init__(self, frozen: FrozenBackbone, images: ArrayFolder, parameters: Finetune):
        self.frozen, self.images = frozen, images
        self.views = distinct_views(parameters.augmentation, parameters.augmented_views)
        self.view = view_function(parameters.augmentation)
        self.themselves = frozen.store()
        self.changed = frozen.store(augmentation=parameters.augmentation.model_dump())

    def fill(self, viewed: pd.DataFrame, plain: pd.DataFrame) -> None:
        """Compute what is not there: all views of some rows, only the images of others.

        Raises:
            UserError: the disk cannot hold it.
        """
        keys = [*dict.fromkeys([*viewed["pixel_sha256"], *plain["pixel_sha256"]])]
        changed = [f"{key}-{n}" for n in range(1, self.views) for key in viewed["pixel_sha256"]]
        new = len(self.themselves.missing(keys)) + len(self.changed.missing(changed))
        shape = self.frozen.network.output_shape[1:]
        size = new * int(np.prod(shape)) * np.dtype(self.frozen.dtype).itemsize
        free = shutil.disk_usage(store_root()).free
        print(f"outputs of the frozen part: {new:,} to compute, {size / 1e9:.2f} GB in the store")
        if size > free:
            raise UserError(
                f"{size / 1e9:.1f} GB are needed in {store_root()} and {free / 1e9:.1f} GB are free. "
                f"Lower augmented_views, choose precision=bfloat16 (half the size), thaw later, or train "
                f"with cached=false."
            )
        fill, image = self.frozen.fill, self.images.__getitem__
        with batch_runner(selected_runtime(), self.frozen) as passes:
            fill(self.themselves, keys, image, "frozen part", passes)
            fill(self.changed, changed, self._changed, "frozen part, views", passes)

    def _changed(self, key: str) -> np.ndarray:
        pixels, number = key.split("-")
        return self.view(self.images[pixels], pixels, int(number))

    def plain(self, rows: pd.DataFrame):
        """Inputs for Batches: the images themselves."""
        keys = rows["pixel_sha256"].to_list()
        return lambda n, _: _stack(self.themselves[keys[i]] for i in n)

    def drawn(self, rows: pd.DataFrame):
        """Inputs for Batches: one view of each image, drawn anew each epoch."""
        keys = rows["pixel_sha256"].to_list()

        def draw(n: np.ndarray, random: np.random.Generator) -> np.ndarray:
            views = random.integers(self.views, size=len(n))
            return _stack(self._output(keys[i], view) for i, view in zip(n, views, strict=True))

        return draw

    def _output(self, pixels: str, view: int) -> np.ndarray:
        return self.changed[f"{pixels}-{view}"] if view else self.themselves[pixels]


def _stack(outputs) -> np.ndarray:
    return np.stack(list(outputs)).astype("float32")


def pixel_inputs(images: ArrayFolder, rows: pd.DataFrame, turned: Augmentation | None = None):
    """Inputs for Batches: the images, in any of the flips of `turned`."""
    selected = images.select(rows["pixel_sha256"])
    if turned is None:
        return lambda n, _: selected[n]
    return lambda n, random: random_flips(selected[n], random, turned)


def check_start(
    subnet: keras.Model,
    end: keras.Model,
    cache: CachedViews,
    rows: pd.DataFrame,
    name: str,
    features: str,
    backbone: Backbone,
) -> None:
    """Assert that the assembled model starts where the subnet ended: the same preprocessing, the
    same batch norm (keras-team/keras#6386 is what happens otherwise).

    Args:
        subnet: as trained on features.
        end: the thawed part and the subnet, on outputs of the frozen part.
        cache: of those outputs.
        rows: of the split, on whose images the two are compared.
        name: of the subnet.
        features: of the backbone, the folder in data/features/.
        backbone: its parameters.

    Raises:
        UserError: the probabilities differ.
    """
    selected = ArrayFolder(f"data/features/{features}").select(rows["pixel_sha256"])
    worst = 0.0
    outputs = cache.plain(rows)
    for start in range(0, len(rows), 64):
        some = np.arange(start, min(start + 64, len(rows)))
        on_features = subnet.predict_on_batch(selected[some].astype("float32"))
        assembled = end.predict_on_batch(outputs(some, None))
        difference = to_probabilities(assembled) - to_probabilities(on_features)
        worst = max(worst, float(np.abs(difference).max()))
    tolerance = TOLERANCE[backbone.precision]
    print(f"the start agrees with {name} within {worst:.1e} (allowed: {tolerance:g})")
    if worst > tolerance:
        raise UserError(
            f"the assembled model's probabilities differ from those of {name} on its "
            f"features by {worst:.3f}, expected {tolerance:g} at most. Features and subnet must "
            f"come from this backbone: dvc repro finetune@... makes them anew."
        )


def initial_weights(name: str, subnet: keras.Model, seed: int) -> list[np.ndarray]:
    """The weights that subnet `name` started from."""
    record = json.loads(Path(f"models/{name}/record.json").read_text())
    head = trained_head(record["settings"], f"models/{name}/record.json")
    make_deterministic(seed)
    shape, classes = subnet.input_shape[1:], len(record["classes"])
    return build_subnet(head, shape, classes).get_weights()


def on_augmented_pixels(
    frozen: FrozenBackbone, end: keras.Model, parameters: Finetune
) -> keras.Model:
    """The whole network on newly sheared and zoomed uint8 pixels."""
    pixels = keras.Input(frozen.network.input_shape[1:], dtype="uint8", name="pixels")
    x = keras.ops.cast(pixels, "float32")
    for layer in random_layers(parameters.augmentation):
        x = layer(x)
    x = keras.ops.cast(keras.ops.round(keras.ops.clip(x, 0, 255)), "uint8")
    return keras.Model(pixels, end(frozen.network(x)))


def finished_model(frozen: FrozenBackbone, end: keras.Model, parameters: Finetune) -> keras.Model:
    """The finished model, from uint8 pixels (batch, height, width, channels)."""
    pixels = keras.Input(frozen.network.input_shape[1:], dtype="uint8", name="pixels")
    turned = (
        flips(parameters.augmentation) if parameters.test_time_augmentation else [(False, False)]
    )
    given = []
    for vertical, horizontal in turned:
        axes = [axis for axis, flip in ((1, vertical), (2, horizontal)) if flip]
        given.append(end(frozen.network(keras.ops.flip(pixels, axes) if axes else pixels)))
    mean = keras.layers.Average(dtype="float32")(given) if len(given) > 1 else given[0]
    return keras.Model(pixels, mean)
