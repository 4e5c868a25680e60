"""The tasks that the driver sends to the workers of a cluster."""

import pickle

import numpy as np
import pytest

from thaw.data.decoding import pixel_sha256
from thaw.errors import UserError
from thaw.models.backbones.filling import ShardWorker, _tasks
from thaw.storage.shared_images import SharedImages


def test_the_driver_sends_keys_and_addresses_only(tmp_path, monkeypatch):
    """Below 1 MB for 1,000 images, also with small shards."""
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), "uint8")
    images = {pixel_sha256(image): image for image in pixels}
    shared = SharedImages((32, 32, 3), images.__getitem__)
    keys = [f"{key}-{number}" for number in (1, 2) for key in sorted(images)]  # views
    tasks = list(_tasks("s3://bucket/thaw/frozen/recipe", keys, 32, shared))
    assert [key for _, sent, _ in tasks for key in sent] == keys
    assert sum(len(pickle.dumps(task)) for task in tasks) / 2 < 200_000


def test_a_worker_that_does_not_see_the_store_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot see the store at .+ Set THAW_STORE to a folder"):
        ShardWorker(str(tmp_path / "absent"), None, None, "weights.npz", (32, 32, 3), None)
