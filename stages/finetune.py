"""Stage finetune@F: a trained subnet on its backbone, whose end is thawed and trained with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from stages.command import Refusal, whole
from stages.engine import keras, repeatable
from stages.images.arrays import Arrays
from stages.images.augment import distinct_views, fitting, flipped, flips, layers, viewer
from stages.inputs import checked
from stages.networks.cluster import passes_in
from stages.networks.frozen import Frozen
from stages.networks.gradients import sum_in_float32
from stages.networks.output import probabilities
from stages.networks.stored import stored
from stages.networks.subnet import build
from stages.params.backbone import Backbone
from stages.params.base import Common, check, load, one
from stages.params.dataset import Dataset, Image
from stages.params.finetune import Finetune
from stages.params.runtime import chosen
from stages.params.subnet import Dense
from stages.params.training import Augmentation
from stages.store import root
from stages.training.batches import batches
from stages.training.fit import fit
from stages.training.rows import Rows
from stages.training.saving import save_model
from stages.training.terms import Terms

AGREE = 64
"""Images on which the start is held against the subnet."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}
"""Largest difference of a probability between the subnet on its features and the same subnet on
its backbone. bfloat16 keeps 8 bits of a number, and sums in another order where the cut is."""


def main(name: str) -> None:
    """Write models/NAME: the model (uint8 pixels in, the output layer out), record.json and
    DVCLive's learning curves."""
    parameters = load(Finetune, "finetunes", name)
    augmentation = fitting(parameters.augmentation, one(Dataset, "dataset", "symmetries"))
    parameters = parameters.model_copy(update={"augmentation": augmentation})
    backbone = load(Backbone, "backbones", parameters.features)
    seed = one(Common, "seed")
    rows, images = Rows(), Arrays("data/images")
    repeatable(seed)
    weights = f"data/weights/{parameters.features}.npz"
    checked(weights, f"models/{parameters.subnet}")
    frozen = Frozen(backbone, weights, images.shape, parameters.thaw_from)
    subnet = stored(f"models/{parameters.subnet}/model.keras")
    for layer in frozen.thawed.layers:
        # as when the features were made; trained statistics would drift from the frozen part's
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    sum_in_float32(frozen.thawed)
    below = keras.Input(frozen.network.output_shape[1:], name="frozen")
    end = keras.Model(below, subnet(frozen.thawed(below)))
    terms = Terms(parameters)
    read = keras.Model(subnet.inputs, terms.outputs(subnet))  # with what terms read of it
    model = keras.Model(below, read(frozen.thawed(below)))

    cache = _Views(frozen, images, parameters)
    train, validation = rows.of("train"), rows.of("validation")
    cached = parameters.through == "cache"
    cache.fill(train if cached else train[:0], pd.concat([validation, train[:AGREE]]))
    _agree(subnet, end, cache, pd.concat([validation, train])[:AGREE], parameters, backbone)
    if parameters.fresh:
        subnet.set_weights(_drawn(parameters.subnet, subnet, seed))

    sigmoid = end.output_shape[-1] == 1
    if cached:
        data = batches(train, cache.drawn(train), parameters, seed, sigmoid)
        held_out = batches(validation, cache.plain(validation), parameters, None, sigmoid)
    else:
        model = _augmented(frozen, model, parameters)
        turning = _pixels(images, train, augmentation)
        data = batches(train, turning, parameters, seed, sigmoid)
        held_out = batches(validation, _pixels(images, validation), parameters, None, sigmoid)
    trainer = terms.trainer(model.inputs, model.outputs)
    recipe = {
        "settings": {**parameters.model_dump(), "seed": seed},
        "backbone": backbone.model_dump(exclude={"digest"}),
        "start": [str(values.sum(dtype="float64")) for values in end.get_weights()],
        "data": rows.digest(),
        "images": images.digest(),
        "losses": terms.digest,
    }
    with whole(f"models/{name}") as folder:
        folder.mkdir()
        start = not parameters.fresh
        record = fit(model, trainer, data, held_out, parameters, recipe, folder, start)
        served = _served(frozen, end, parameters)
        record.parameters = served.count_params()
        record.classes = rows.classes
        record.image = load(Image, "dataset", "image").model_dump()
        save_model(served, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
    if record.kept == 0:
        print("no epoch had a lower validation loss than the start: the start is kept")


class _Views:
    """The frozen part's outputs for the images and their views, in the store."""

    def __init__(self, frozen: Frozen, images: Arrays, parameters: Finetune):
        self.frozen, self.images = frozen, images
        self.views = distinct_views(parameters.augmentation, parameters.views)
        self.view = viewer(parameters.augmentation)
        self.themselves = frozen.store()
        self.changed = frozen.store(augmentation=parameters.augmentation.model_dump())

    def fill(self, viewed: pd.DataFrame, plain: pd.DataFrame) -> None:
        """Compute what is not there: all views of some rows, only the images of others.

        Raises:
            Refusal: the disk cannot hold it.
        """
        keys = [*dict.fromkeys([*viewed["pixels"], *plain["pixels"]])]
        changed = [f"{key}-{n}" for n in range(1, self.views) for key in viewed["pixels"]]
        new = len(self.themselves.missing(keys)) + len(self.changed.missing(changed))
        shape = self.frozen.network.output_shape[1:]
        size = new * int(np.prod(shape)) * np.dtype(self.frozen.dtype).itemsize
        free = shutil.disk_usage(root()).free
        print(f"outputs of the frozen part: {new:,} to compute, {size / 1e9:.2f} GB in the store")
        if size > free:
            raise Refusal(
                f"{size / 1e9:.1f} GB are needed in {root()} and {free / 1e9:.1f} GB are free. "
                f"Lower views, choose precision=bfloat16 (half the size), thaw later, or train "
                f"with through=network."
            )
        fill, image = self.frozen.fill, self.images.__getitem__
        with passes_in(chosen(), self.frozen) as passes:
            fill(self.themselves, keys, image, "frozen part", passes)
            fill(self.changed, changed, self._changed, "frozen part, views", passes)

    def _changed(self, key: str) -> np.ndarray:
        pixels, number = key.split("-")
        return self.view(self.images[pixels], pixels, int(number))

    def plain(self, rows: pd.DataFrame):
        """Inputs for Batches: the images themselves."""
        keys = rows["pixels"].to_list()
        return lambda n, _: _stack(self.themselves[keys[i]] for i in n)

    def drawn(self, rows: pd.DataFrame):
        """Inputs for Batches: one view of each image, drawn anew each epoch."""
        keys = rows["pixels"].to_list()

        def draw(n: np.ndarray, random: np.random.Generator) -> np.ndarray:
            views = random.integers(self.views, size=len(n))
            return _stack(self._output(keys[i], view) for i, view in zip(n, views, strict=True))

        return draw

    def _output(self, pixels: str, view: int) -> np.ndarray:
        return self.changed[f"{pixels}-{view}"] if view else self.themselves[pixels]


def _stack(outputs) -> np.ndarray:
    return np.stack(list(outputs)).astype("float32")


def _pixels(images: Arrays, rows: pd.DataFrame, turned: Augmentation | None = None):
    """Inputs for Batches: the images, in any of the flips of `turned`."""
    selected = images.select(rows["pixels"])
    if turned is None:
        return lambda n, _: selected[n]
    return lambda n, random: flipped(selected[n], random, turned)


def _agree(subnet, end, cache: _Views, rows, parameters: Finetune, backbone: Backbone) -> None:
    """Assert that the assembled model starts where the subnet ended: the same preprocessing, the
    same batch norm (keras-team/keras#6386 is what happens otherwise)."""
    features = Arrays(f"data/features/{parameters.features}")
    selected = features.select(rows["pixels"])
    worst = 0.0
    outputs = cache.plain(rows)
    for start in range(0, len(rows), 64):
        some = np.arange(start, min(start + 64, len(rows)))
        on_features = subnet.predict_on_batch(selected[some].astype("float32"))
        assembled = end.predict_on_batch(outputs(some, None))
        difference = probabilities(assembled) - probabilities(on_features)
        worst = max(worst, float(np.abs(difference).max()))
    tolerance = TOLERANCE[backbone.precision]
    print(f"the start agrees with {parameters.subnet} within {worst:.1e} (allowed: {tolerance:g})")
    if worst > tolerance:
        raise Refusal(
            f"the assembled model's probabilities differ from those of {parameters.subnet} on its "
            f"features by {worst:.3f}, expected {tolerance:g} at most. Features and subnet must "
            f"come from this backbone: dvc repro finetune@... makes them anew."
        )


def _drawn(name: str, subnet: keras.Model, seed: int) -> list[np.ndarray]:
    """The weights that subnet `name` started from."""
    record = json.loads(Path(f"models/{name}/record.json").read_text())
    settings = {key: value for key, value in record["settings"].items() if key != "seed"}
    repeatable(seed)
    shape, classes = subnet.input_shape[1:], len(record["classes"])
    return build(check(Dense, settings), shape, classes).get_weights()


def _augmented(frozen: Frozen, end: keras.Model, parameters: Finetune) -> keras.Model:
    """The whole network on newly sheared and zoomed uint8 pixels."""
    pixels = keras.Input(frozen.network.input_shape[1:], dtype="uint8", name="pixels")
    x = keras.ops.cast(pixels, "float32")
    for layer in layers(parameters.augmentation):
        x = layer(x)
    x = keras.ops.cast(keras.ops.round(keras.ops.clip(x, 0, 255)), "uint8")
    return keras.Model(pixels, end(frozen.network(x)))


def _served(frozen: Frozen, end: keras.Model, parameters: Finetune) -> keras.Model:
    """The finished model, from uint8 pixels (batch, height, width, channels)."""
    pixels = keras.Input(frozen.network.input_shape[1:], dtype="uint8", name="pixels")
    turned = flips(parameters.augmentation) if parameters.average_flips else [(False, False)]
    given = []
    for vertical, horizontal in turned:
        axes = [axis for axis, flip in ((1, vertical), (2, horizontal)) if flip]
        given.append(end(frozen.network(keras.ops.flip(pixels, axes) if axes else pixels)))
    mean = keras.layers.Average(dtype="float32")(given) if len(given) > 1 else given[0]
    return keras.Model(pixels, mean)
