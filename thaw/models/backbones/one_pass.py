"""Compute features, and the frozen outputs that a fine-tuning needs, in one pass over an image."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.backbone import Backbone
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.runtime.tensorflow import tf
from thaw.storage.store import Store, store_root

FEWEST_BATCHES = 10  # of images; the comparison of bytes takes as long as three
LARGEST_SHARE = 0.25  # of the free disk space, for frozen outputs that nobody asked for yet


class OnePass(FrozenBackbone):
    """A backbone whose pass over an image gives its features and the output of the frozen part.

    Filling the store of features also fills the store of a fine-tuning, which then need not run
    the frozen part again.
    """

    def _compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function of pixels: frozen outputs and features, side by side."""

        def both(pixels: Any) -> Any:
            frozen = self.network(pixels, training=False)
            outputs = [frozen, self.thawed(frozen, training=False)]
            return tf.concat(
                [tf.reshape(tf.cast(x, self.dtype), (x.shape[0], -1)) for x in outputs], axis=1
            )  # (batch, values)

        function = tf.function(both, autograph=False)  # autograph would leave a file in /tmp
        return lambda pixels: function(pixels).numpy()

    def agrees(self, plain: FrozenBackbone) -> bool:
        """Return whether both outputs have the same bytes as if each was computed by itself.

        They can differ if TensorFlow fuses layers across the thawed layer's input.

        Args:
            plain: the same backbone, without a thawed layer.
        """
        shape = (self.batch_size, *self.network.input_shape[1:])
        pixels = np.random.default_rng(0).integers(256, size=shape, dtype="uint8")
        alone = super()._compiled()(pixels), plain.apply(pixels)
        expected = np.concatenate([x.reshape(len(x), -1) for x in alone], axis=1)
        return np.array_equal(self.apply(pixels), expected)

    @functools.cached_property
    def _frozen_store(self) -> Store:
        """The store of a fine-tuning. It reads all keys, so it is not opened for each shard."""
        return self.store()

    def _add(self, store: Store, keys: list[str], rows: list[np.ndarray]) -> None:
        shape = self.network.output_shape[1:]
        outputs = np.concatenate(rows)
        frozen, features = np.split(outputs, [int(np.prod(shape))], axis=1)
        own = self._frozen_store
        new = [n for n, key in enumerate(keys) if key not in own]
        if new and np.isfinite(frozen).all():  # the features alone may be finite
            frozen = frozen.reshape(-1, *shape)[new]
            super()._add(own, [keys[n] for n in new], [frozen])
        super()._add(store, keys, [features.reshape(-1, *self.thawed.output_shape[1:])])


def features_network(
    backbone: Backbone,
    weights: str | Path,
    shape: tuple[int, ...],
    thaw_from: str | None,
    images: int,
) -> FrozenBackbone:
    """Return the backbone that computes features.

    It is a OnePass if that saves time, its outputs have the same bytes and the disk has enough
    space. OpenVINO is so fast that it would save little.

    Args:
        backbone: its parameters.
        weights: file of its weights.
        shape: of an image, (height, width, channels).
        thaw_from: the first layer that a fine-tuning thaws; None: there is none.
        images: how many will be computed.
    """
    plain = FrozenBackbone(backbone, weights, shape, thaw_from=None)
    if (
        thaw_from is None
        or backbone.engine != "tensorflow"
        or images < FEWEST_BATCHES * backbone.batch_size
    ):
        return plain
    both = OnePass(backbone, weights, shape, thaw_from)
    values = images * int(np.prod(both.network.output_shape[1:]))
    free = shutil.disk_usage(store_root()).free
    if values * np.dtype(both.dtype).itemsize > LARGEST_SHARE * free or not both.agrees(plain):
        return plain
    print(f"the same pass stores the frozen outputs before {thaw_from} for fine-tuning")
    return both
