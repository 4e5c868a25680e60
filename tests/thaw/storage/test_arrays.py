"""Folders of arrays."""

import hashlib

import numpy as np
import pytest

from thaw.storage import arrays as module
from thaw.storage.arrays import ArrayFolder, Selection, array_files, write_array_folder

# enough for several files
KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(100)]


def row(key: str) -> np.ndarray:
    return np.full((2, 3), int(key[:2], 16), "uint8")


def write(folder, keys=KEYS, row=row, recipe=None) -> ArrayFolder:
    write_array_folder(folder, keys, row, recipe or {"size": 3})
    return ArrayFolder(folder)


@pytest.mark.parametrize("max_bytes", [2**29, 0])
def test_rows_are_read_by_their_keys(tmp_path, monkeypatch, max_bytes):
    monkeypatch.setattr(module, "MAX_BYTES_IN_MEMORY", max_bytes)
    arrays = write(tmp_path / "a")
    assert len(arrays) == 100 and arrays.shape == (2, 3) and arrays.dtype == "uint8"
    for key in KEYS:
        assert np.array_equal(arrays[key], row(key))
    keys = [KEYS[n] for n in (70, 3, 3, 99, 0, 41)]
    selected = arrays.select(keys)
    assert isinstance(selected, Selection if max_bytes == 0 else np.ndarray)
    assert len(selected) == 6 and selected.shape == (6, 2, 3) and selected.dtype == "uint8"
    expected = np.stack([row(key) for key in keys])
    numbers = np.array([5, 1, 2, 2])
    assert np.array_equal(selected[:], expected)
    assert np.array_equal(selected[numbers], expected[numbers])
    assert np.array_equal(selected[1:3], expected[1:3])
    assert selected[numbers[:0]].shape == (0, 2, 3)
    assert arrays.select([]).shape == (0, 2, 3)


def test_the_order_and_repetition_of_keys_change_no_byte(tmp_path, content):
    a, b = write(tmp_path / "a"), write(tmp_path / "b", [*sorted(KEYS, reverse=True), KEYS[0]])
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert a.digest() == b.digest()


@pytest.mark.parametrize("before", [1, 8, 9, 40, 99])
def test_a_new_row_changes_one_file_besides_the_keys(tmp_path, content, before):
    write(tmp_path / "a", KEYS[:before])
    write(tmp_path / "b", KEYS[: before + 1])
    old, new = content(tmp_path / "a"), content(tmp_path / "b")
    written = {name for name in new if old.get(name) != new[name]} - {"keys.txt"}
    assert sum(len(np.load(tmp_path / "b" / name)) for name in written) <= 9
    removed = old.keys() - new.keys()
    assert len(removed) <= 1, "a full file is divided, no other one is touched"


@pytest.mark.parametrize(("count", "most_files"), [(2_000, 500), (20_000, 3_000), (300_000, 3_000)])
def test_few_files_contain_every_row_once(count, most_files):
    random = np.random.default_rng(0)
    keys = sorted(random.bytes(32).hex() for _ in range(count))
    files = array_files(keys)
    assert len(files) <= most_files
    assert [start for _, start, _ in files] == [0, *(stop for _, _, stop in files[:-1])]
    assert files[-1][2] == count
    assert len({name for name, _, _ in files}) == len(files)


def test_the_digest_depends_on_rows_and_keys(tmp_path):
    same = write(tmp_path / "a")
    rows = write(tmp_path / "rows", row=lambda key: row(key) + 1)
    keys = write(tmp_path / "keys", [*KEYS[1:], "f" * 64], lambda key: row(min(key, max(KEYS))))
    assert len({arrays.digest() for arrays in (same, rows, keys)}) == 3


def test_an_unknown_key_raises_key_error(tmp_path):
    arrays = write(tmp_path / "a")
    with pytest.raises(KeyError):
        arrays.select([KEYS[0], "f" * 64])
    with pytest.raises(KeyError):
        arrays["f" * 64]


def test_nothing_is_left_after_an_error(tmp_path):
    def fails(key: str) -> np.ndarray:
        if key == max(KEYS):
            raise RuntimeError("disk on fire")
        return row(key)

    with pytest.raises(RuntimeError):
        write(tmp_path / "a", row=fails)
    assert not list(tmp_path.iterdir())
