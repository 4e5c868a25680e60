import numpy as np
import pytest

from stages.images.arrays import Arrays, write_arrays

KEYS = [f"{number:064x}" for number in (7, 3, 11, 5)]


def row(key: str) -> np.ndarray:
    return np.full((2, 3), int(key, 16), "uint8")


def test_rows_come_back_memory_mapped_under_their_keys(tmp_path):
    write_arrays(tmp_path / "a", KEYS, row)
    arrays = Arrays(tmp_path / "a")
    assert len(arrays) == 4 and isinstance(arrays.rows, np.memmap)
    assert arrays.rows.dtype == "uint8" and arrays.rows.shape == (4, 2, 3)
    for key in KEYS:
        assert np.array_equal(arrays[key], row(key))
    assert np.array_equal(arrays.rows[arrays.rows_of(KEYS)], [row(key) for key in KEYS])


def test_order_and_repetition_of_keys_change_no_byte(tmp_path, content):
    write_arrays(tmp_path / "a", KEYS, row)
    write_arrays(tmp_path / "b", [*sorted(KEYS, reverse=True), KEYS[0]], row)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert Arrays(tmp_path / "a").digest() == Arrays(tmp_path / "b").digest()


def test_digest_tells_other_rows_and_other_keys_apart(tmp_path):
    write_arrays(tmp_path / "a", KEYS, row)
    write_arrays(tmp_path / "rows", KEYS, lambda key: row(key) + 1)
    write_arrays(tmp_path / "keys", [*KEYS[1:], "f" * 64], lambda key: row(min(key, KEYS[2])))
    assert len({Arrays(tmp_path / name).digest() for name in ("a", "rows", "keys")}) == 3


def test_an_unknown_key_is_an_error_and_not_another_row(tmp_path):
    write_arrays(tmp_path / "a", KEYS, row)
    with pytest.raises(KeyError):
        Arrays(tmp_path / "a").rows_of([KEYS[0], "f" * 64])


def test_nothing_is_left_when_a_row_fails(tmp_path):
    def fails(key: str) -> np.ndarray:
        if key == max(KEYS):
            raise RuntimeError("disk on fire")
        return row(key)

    with pytest.raises(RuntimeError):
        write_arrays(tmp_path / "a", KEYS, fails)
    assert not list(tmp_path.iterdir())
