"""Weights as files."""

import hashlib

import numpy as np

from thaw.storage.npz import load_npz, save_npz


def test_arrays_are_the_same_bytes_by_every_python_and_read_as_they_were(tmp_path):
    """The digest was found with Python 3.11.2 and 3.11.7, whose savez differ."""
    held = {
        "a/kernel": np.arange(12, dtype="float32").reshape(3, 4),
        "b": np.ones(3, "uint8"),
    }
    path = tmp_path / "arrays.npz"
    save_npz(path, held)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith("22a7b4d1e5913a988954dc60")
    found = load_npz(path)
    assert list(found) == list(held)
    for name, values in held.items():
        np.testing.assert_array_equal(found[name], values, strict=True)
