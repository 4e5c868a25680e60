"""A backbone's frozen part, run over each image once: what it gives is kept in the store."""

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from thaw.config.backbone import Backbone
from thaw.errors import UserError, note_progress
from thaw.models.backbones.applications import load_backbone, preprocess_pixels, split_at
from thaw.models.backbones.recipe import frozen_recipe
from thaw.runtime.progress import Progress
from thaw.runtime.tensorflow import keras, tf
from thaw.storage.store import Store

PASSES_A_SHARD = 8
"""What a kill can lose."""


class FrozenBackbone:
    """A backbone up to the layer `thaw_from`, from uint8 pixels to the tensor before it.

    Args:
        backbone: its parameters.
        weights: the file that stage weights@B stored.
        shape: of an image, (height, width, channels).
        thaw_from: the first layer that is not run; none: all are, which makes the features.

    Attributes:
        network: the frozen part, preprocessing included.
        thawed: the layers from `thaw_from` on.
        apply: that network on a batch of pixels, in `dtype`.
        dtype: of what is stored, float32, or float16 where the arithmetic is bfloat16 (which has
            fewer digits than float16).
        made, weights: what it was made with.
        recipe: what shapes its outputs.
    """

    def __init__(
        self, backbone: Backbone, weights: str | Path, shape: tuple, thaw_from: str | None
    ):
        whole = load_backbone(backbone.application, shape[0], weights, backbone.precision)
        frozen, self.thawed = split_at(whole, thaw_from)
        pixels = keras.Input(shape, dtype="uint8", name="pixels")
        read = preprocess_pixels(pixels, backbone.application, backbone.preprocessing)
        self.network = keras.Model(pixels, frozen(read))
        self.network.trainable = False
        self.dtype = "float16" if backbone.precision == "bfloat16" else "float32"
        self.batch_size = backbone.batch_size
        self.made, self.weights = (backbone, shape, thaw_from), weights
        self.apply = tf.function(
            lambda pixels: tf.cast(self.network(pixels, training=False), self.dtype),
            autograph=False,  # it writes a file into /tmp, and leaves it there
        )
        self.recipe = frozen_recipe(backbone, weights, thaw_from)

    def store(self, **recipe) -> Store:
        """Where the outputs are kept; `recipe` is what was done to the images before."""
        return Store("frozen", {**self.recipe, **recipe})

    def fill(self, store: Store, keys: list[str], image: Callable, what: str, passes=None) -> int:
        """Have in `store` the output for each of `keys`, computing those that are not there.

        Every pass holds the same number of images, the last one filled up with zeros, so that an
        image's output depends on it alone.

        Args:
            image: gives the uint8 pixels (height, width, channels) of a key.
            passes: runs batches as `self.passes` does, which is taken if there is none.

        Returns:
            How many were computed.

        Raises:
            UserError: an output is not finite.
        """
        missing = store.missing(keys)
        done, rows, stored = [], [], 0
        with Progress(what, len(missing)) as progress:
            for some, outputs in (passes or self.passes)(self._batches(missing, image)):
                rows.append(outputs[: len(some)])
                done += some
                if len(rows) == PASSES_A_SHARD:
                    self._keep(store, done, rows)
                    stored += len(done)
                    note_progress(f"{stored:,} of {len(missing):,} new outputs of the backbone")
                    done, rows = [], []
                progress.advance(len(some))
            if rows:
                self._keep(store, done, rows)
        return len(missing)

    def passes(self, batches: Iterator[tuple]) -> Iterator[tuple]:
        """The keys and outputs of each batch (keys, pixels), in order. The next images are read
        while the network runs."""
        for some, pixels in _ahead(batches):
            yield some, self.apply(pixels).numpy()

    def _batches(self, keys: list[str], image: Callable) -> Iterator[tuple]:
        for start in range(0, len(keys), self.batch_size):
            some = keys[start : start + self.batch_size]
            pixels = np.zeros((self.batch_size, *self.network.input_shape[1:]), "uint8")
            for place, key in enumerate(some):
                pixels[place] = image(key)
            yield some, pixels

    def _keep(self, store: Store, keys: list[str], rows: list[np.ndarray]) -> None:
        together = np.concatenate(rows)
        if not np.isfinite(together).all():
            raise UserError(
                f"the backbone gives values that {self.dtype} cannot hold. Choose "
                f"precision=float32 for it."
            )
        store.add(keys, together)


def _ahead(items: Iterator, most: int = 2) -> Iterator:
    """The same items, made by a thread up to `most` before they are asked for."""
    waiting: queue.Queue = queue.Queue(most)
    end = object()

    def work() -> None:
        try:
            for item in items:
                waiting.put(item)
            waiting.put(end)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=work, daemon=True).start()
    while (item := waiting.get()) is not end:
        if isinstance(item, BaseException):
            raise item
        yield item
