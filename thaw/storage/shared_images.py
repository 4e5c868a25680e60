"""Decoded images in the store, for workers on other machines, under the SHA-256 of their pixels.

They are sorted, so that the images of one batch are adjacent, and a worker reads them at once.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from thaw.storage.shards import Row, SharedShards
from thaw.storage.store import store_address

SHARD_BYTES = 2**24  # pixels in a shard of many small images
MIN_SHARD_IMAGES = 64  # images in a shard, however large they are


class SharedImages:
    """The decoded images of one shape.

    Args:
        shape: of an image, (height, width, channels).
        image: function that returns the uint8 pixels of a key.

    Attributes:
        address: of the shards.

    Raises:
        UserError: the shared store cannot be used.
    """

    def __init__(
        self, shape: tuple[int, ...], image: Callable[[str], np.ndarray[Any, Any]]
    ) -> None:
        self._image = image
        self._most = max(MIN_SHARD_IMAGES, SHARD_BYTES // int(np.prod(shape)))
        recipe = {"shape": list(shape)}
        self.address = store_address("pixels", recipe)
        self._shards = SharedShards(self.address)
        self._row_of: dict[str, Row] = {}
        files = self._shards.files()
        if "recipe.json" not in files:
            self._shards.write("recipe.json", json.dumps(recipe, indent=2).encode())
        shards = sorted(f[: -len(".keys")] for f in files if f.endswith(".keys"))
        for shard, keys in self._shards.keys(shards).items():
            self._register(shard, keys)

    def share(self, keys: Iterable[str]) -> None:
        """Write the images that the store lacks."""
        missing = sorted(set(keys) - self._row_of.keys())
        for start in range(0, len(missing), self._most):
            chunk = missing[start : start + self._most]
            shard = self._shards.add(chunk, np.stack([self._image(key) for key in chunk]))
            self._register(shard, chunk)

    def rows(self, keys: list[str]) -> list[Row]:
        """Return the place of each of `keys`, after writing those that the store lacks."""
        self.share(keys)
        return [self._row_of[key] for key in keys]

    def _register(self, shard: str, keys: list[str]) -> None:
        for row, key in enumerate(keys):
            self._row_of[key] = shard, row, len(keys)
