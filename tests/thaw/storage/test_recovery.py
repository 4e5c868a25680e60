import hashlib
import json

import numpy as np
import pytest
import yaml

from thaw.storage.arrays import write_array_folder
from thaw.storage.recovery import read_recorded, recover_rows
from thaw.storage.store import Store

KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(30)]
RECIPE = {"size": 3}


def row(key: str) -> np.ndarray:
    return np.full((2, 3), int(key[:2], 16), "uint8")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """data/made of 20 rows, in DVC's cache and dvc.lock but no longer in its place. A function
    from a file's name to its place in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    (tmp_path / ".dvc").mkdir()
    write_array_folder("data/made", KEYS[:20], row, RECIPE)

    def keep(content: bytes, suffix: str = ""):
        md5 = hashlib.md5(content).hexdigest() + suffix
        place = tmp_path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return md5, place

    places, listing = {}, []
    for file in (tmp_path / "data/made").iterdir():
        md5, places[file.name] = keep(file.read_bytes())
        listing.append({"md5": md5, "relpath": file.name})
    md5, _ = keep(json.dumps(listing).encode(), ".dir")
    lock = {"stages": {"make": {"cmd": "make", "outs": [{"path": "data/made", "md5": md5}]}}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    (tmp_path / "data/made").rename(tmp_path / "gone")
    return places


def test_what_was_recorded_is_taken_and_nothing_else(cached):
    store = Store("made", RECIPE)
    store.add(KEYS[:1], row(KEYS[0])[None] + 1)
    assert recover_rows(store, KEYS[:25], "data/made") == 19
    assert store.missing(KEYS[:25]) == KEYS[20:25]
    assert np.array_equal(store[KEYS[0]], row(KEYS[0]) + 1), "what is there stays"
    for key in KEYS[1:20]:
        assert np.array_equal(store[key], row(key))
    assert recover_rows(store, KEYS[:25], "data/made") == 0


def test_rows_may_go_by_another_key_in_the_store(cached):
    store = Store("made", RECIPE)
    assert recover_rows(store, ["a", "b"], "data/made", {"a": KEYS[7], "b": None}.get) == 1
    assert np.array_equal(store["a"], row(KEYS[7])) and "b" not in store


def test_two_keys_of_the_store_may_be_one_row(cached):
    store = Store("made", RECIPE)
    assert recover_rows(store, ["a", "b"], "data/made", {"a": KEYS[7], "b": KEYS[7]}.get) == 2
    assert np.array_equal(store["a"], store["b"])


def test_another_recipe_is_left(cached):
    assert recover_rows(Store("made", {"size": 4}), KEYS, "data/made") == 0


def test_without_a_record_or_without_the_objects_nothing_happens(cached, tmp_path):
    assert recover_rows(Store("made", RECIPE), KEYS, "data/other") == 0
    assert read_recorded("data/other") is None
    for name, place in cached.items():
        if name.startswith("rows"):
            place.unlink()
    assert recover_rows(Store("made", RECIPE), KEYS, "data/made") == 0
    (tmp_path / "dvc.lock").unlink()
    assert recover_rows(Store("made", RECIPE), KEYS, "data/made") == 0


def test_an_object_that_is_damaged_is_not_taken(cached):
    store = Store("made", RECIPE)
    for name, place in cached.items():
        if name.startswith("rows"):
            place.write_bytes(place.read_bytes()[:-3] + b"xyz")
    assert recover_rows(store, KEYS, "data/made") == 0
    assert store.missing(KEYS) == KEYS
