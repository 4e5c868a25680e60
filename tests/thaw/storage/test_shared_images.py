"""Decoded images that workers read from the store."""

import numpy as np
import pytest

from thaw.data.decoding import pixel_sha256
from thaw.storage.shards import SharedShards
from thaw.storage.shared_images import SharedImages

SHAPE = (8, 8, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (300, *SHAPE), "uint8")
IMAGES = {pixel_sha256(image): image for image in PIXELS}


@pytest.mark.parametrize("place", ["a [folder]", "memory://images"])
def test_each_image_is_written_once_and_read_by_its_place(place, tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_STORE", place if "://" in place else str(tmp_path / place))
    monkeypatch.setattr("thaw.storage.shared_images.SHARD_BYTES", 1)  # many shards
    keys, written = list(IMAGES), []

    def image(key: str) -> np.ndarray:
        written.append(key)
        return IMAGES[key]

    SharedImages(SHAPE, image).share(keys[:200])
    images = SharedImages(SHAPE, image)  # the next run
    places = images.rows(keys)
    assert sorted(written) == sorted(keys)
    read = SharedShards(images.address).read(places, SHAPE, "uint8")
    assert (read == PIXELS).all()
