"""Arrays in .npz files."""

import hashlib

import numpy as np

from thaw.storage.npz import load_npz, save_npz


def test_every_python_writes_the_same_bytes_and_reads_the_same_arrays(tmp_path):
    """Python 3.11.2 and 3.11.7, whose `numpy.savez` differ, both gave this digest."""
    arrays = {
        "a/kernel": np.arange(12, dtype="float32").reshape(3, 4),
        "b": np.ones(3, "uint8"),
    }
    path = tmp_path / "arrays.npz"
    save_npz(path, arrays)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith("22a7b4d1e5913a988954dc60")
    loaded = load_npz(path)
    assert list(loaded) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(loaded[name], values, strict=True)
