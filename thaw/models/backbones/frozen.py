"""The frozen part of a backbone, run over each image once; its outputs are kept in the store."""

import functools
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.backbone import Backbone
from thaw.errors import UserError, note_progress
from thaw.models.backbones.applications import (
    copy_in_float32,
    load_backbone,
    preprocess_pixels,
    split_at,
)
from thaw.models.backbones.recipe import frozen_recipe, output_type
from thaw.runtime.openvino import compile_network
from thaw.runtime.progress import Progress
from thaw.runtime.tensorflow import keras, tf, thread_count
from thaw.storage.store import Store

Batches = Iterator[tuple[list[str], np.ndarray]]  # keys, and pixels (batch, ...)
SHARD_BATCHES = 8  # batches per shard of the store: what is lost if the process is killed


class FrozenBackbone:
    """A backbone up to the layer `thaw_from`, from uint8 pixels to that layer's input.

    Args:
        backbone: its parameters.
        weights: file of its weights, from stage weights@NAME.
        shape: of an image, (height, width, channels).
        thaw_from: the first layer that is not part of it, or None for all layers, whose output is
            the features.

    Attributes:
        backbone: as in Args.
        network: keras.Model of the frozen part, preprocessing included.
        thawed: keras.Model of the layers from `thaw_from` on.
        dtype: of stored outputs, see thaw.models.backbones.recipe.output_type.
        batch_size: images per forward pass.
        arguments: those of this class but for `weights`, which builds the same in another process.
        weights: as in Args.
        recipe: what determines the outputs, see thaw.models.backbones.recipe.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: str | Path,
        shape: tuple[int, ...],
        thaw_from: str | None,
    ) -> None:
        whole = load_backbone(backbone.application, shape[:2], weights, backbone.precision)
        self.network, self.thawed = _parts(whole, backbone, shape, thaw_from)
        self._network_for_openvino = self.network
        if backbone.engine == "openvino" and backbone.precision == "bfloat16":
            # OpenVINO itself rounds to bfloat16, and does not know Keras's mixed precision. This
            # network is built now, because building one draws from Keras's random numbers.
            exact = copy_in_float32(whole, backbone.application)
            self._network_for_openvino, _ = _parts(exact, backbone, shape, thaw_from)
        self.backbone = backbone
        self.dtype = output_type(backbone)
        self.batch_size = backbone.batch_size
        self.arguments = {"backbone": backbone, "shape": shape, "thaw_from": thaw_from}
        self.weights = weights
        self.recipe = frozen_recipe(backbone, weights, thaw_from)

    @functools.cached_property
    def apply(self) -> Callable[[np.ndarray], np.ndarray]:
        """The network as a function of uint8 pixels (batch, height, width, channels), whose result
        has the type `dtype`. The engine prepares it when it is first used.
        """
        return self._compiled()

    def _compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        if self.backbone.engine == "openvino":
            precision = self.backbone.precision
            run = compile_network(self._network_for_openvino, precision, thread_count())
            return lambda pixels: run(pixels).astype(self.dtype)
        function = tf.function(
            lambda pixels: tf.cast(self.network(pixels, training=False), self.dtype),
            autograph=False,  # autograph would leave a file in /tmp
        )
        return lambda pixels: function(pixels).numpy()

    def store(self, **recipe: Any) -> Store:
        """Return the store of the outputs.

        Args:
            recipe: what was done to the images before, if anything, such as `augmentation`.
        """
        return Store("frozen", {**self.recipe, **recipe})

    def fill(
        self,
        store: Store,
        keys: list[str],
        image: Callable[[str], np.ndarray],
        label: str,
    ) -> int:
        """Compute and store the outputs that are missing for `keys`.

        Every batch has the same number of images, the last one padded with zeros, so that an
        image's output depends on that image alone. A thread reads the next images while the network
        runs.

        Args:
            store: as returned by `store`.
            keys: of images.
            image: function that returns the uint8 pixels (height, width, channels) of a key.
            label: names the work in the progress bar.

        Returns:
            The number of outputs that were computed.

        Raises:
            UserError: an output is not finite.
        """
        missing = store.missing(keys)
        done, rows, stored = [], [], 0
        with Progress(label, len(missing)) as progress:
            for batch_keys, pixels in _prefetch(self._batches(missing, image)):
                rows.append(self.apply(pixels)[: len(batch_keys)])
                done += batch_keys
                if len(rows) == SHARD_BATCHES:
                    self._add(store, done, rows)
                    stored += len(done)
                    note_progress(f"{stored:,} of {len(missing):,} new outputs of the backbone")
                    done, rows = [], []
                progress.advance(len(batch_keys))
            if rows:
                self._add(store, done, rows)
        return len(missing)

    def outputs(self, keys: list[str], image: Callable[[str], np.ndarray]) -> np.ndarray:
        """Return the outputs (len(keys), ...) that `fill` stores.

        Args:
            keys: of images.
            image: as for `fill`.

        Raises:
            UserError: an output is not finite.
        """
        batches = self._batches(keys, image)
        return self._joined([self.apply(pixels)[: len(batch)] for batch, pixels in batches])

    def _batches(self, keys: list[str], image: Callable[[str], np.ndarray]) -> Batches:
        for start in range(0, len(keys), self.batch_size):
            batch_keys = keys[start : start + self.batch_size]
            pixels = np.zeros((self.batch_size, *self.network.input_shape[1:]), "uint8")
            for row, key in enumerate(batch_keys):
                pixels[row] = image(key)
            yield batch_keys, pixels

    def _add(self, store: Store, keys: list[str], rows: list[np.ndarray]) -> None:
        store.add(keys, self._joined(rows))

    def _joined(self, rows: list[np.ndarray]) -> np.ndarray:
        outputs = np.concatenate(rows)
        if not np.isfinite(outputs).all():
            raise UserError(
                f"the backbone's outputs contain values that {self.dtype} cannot hold. Choose "
                f"precision=float32 for it."
            )
        return outputs


def _parts(
    whole: keras.Model, backbone: Backbone, shape: tuple[int, ...], thaw_from: str | None
) -> tuple[keras.Model, keras.Model]:
    """Return the frozen part, which reads uint8 pixels, and the thawed part."""
    frozen, thawed = split_at(whole, thaw_from)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")  # (batch, h, w, 1 or 3)
    preprocessed = preprocess_pixels(pixels, backbone.application, backbone.preprocessing)
    network = keras.Model(pixels, frozen(preprocessed))
    network.trainable = False
    return network, thawed


def _prefetch(items: Iterator[Any], most: int = 2) -> Iterator[Any]:
    """Yield the same items, which a thread computes up to `most` items ahead."""
    waiting: queue.Queue[Any] = queue.Queue(most)
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
