"""Recovery of rows from DVC's cache."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from thaw.config.dataset import Image
from thaw.data.preprocessing import image_stores
from thaw.storage.arrays import write_array_folder
from thaw.storage.files import remove
from thaw.storage.recovery import read_recorded, recover_rows
from thaw.storage.store import Store

KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(30)]
RECIPE = {"size": 3}


def row(key: str) -> np.ndarray:
    return np.full((2, 3), int(key[:2], 16), "uint8")


def record(*outs: str) -> dict:
    """Record files and folders in DVC's cache and dvc.lock, and remove them.

    Returns the path in the cache of each file, by file name.
    """

    def keep(content: bytes, suffix: str = ""):
        md5 = hashlib.md5(content).hexdigest() + suffix
        place = Path(".dvc/cache/files/md5").absolute() / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return md5, place

    places, entries = {}, []
    for out in map(Path, outs):
        listing = []
        for file in out.iterdir() if out.is_dir() else [out]:
            md5, places[file.name] = keep(file.read_bytes())
            listing.append({"md5": md5, "relpath": file.name})
        if out.is_dir():
            md5, _ = keep(json.dumps(listing).encode(), ".dir")
        entries.append({"path": str(out), "md5": md5})
        remove(out)
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"make": {"cmd": "", "outs": entries}}}))
    return places


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Enter an empty project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    (tmp_path / ".dvc").mkdir()


@pytest.fixture
def cached(project):
    """Record data/rows of 20 rows. Returns the path in the cache of each of its files, by name."""
    write_array_folder("data/rows", KEYS[:20], row, RECIPE)
    return record("data/rows")


def test_only_missing_recorded_rows_are_recovered(cached):
    store = Store("rows", RECIPE)
    store.add(KEYS[:1], row(KEYS[0])[None] + 1)
    assert recover_rows(store, KEYS[:25], "data/rows") == 19
    assert store.missing(KEYS[:25]) == KEYS[20:25]
    assert np.array_equal(store[KEYS[0]], row(KEYS[0]) + 1), "stored rows are not replaced"
    for key in KEYS[1:20]:
        assert np.array_equal(store[key], row(key))
    assert recover_rows(store, KEYS[:25], "data/rows") == 0


def test_rows_may_have_another_key_in_the_store(cached):
    store = Store("rows", RECIPE)
    assert recover_rows(store, ["a", "b"], "data/rows", {"a": KEYS[7], "b": None}.get) == 1
    assert np.array_equal(store["a"], row(KEYS[7])) and "b" not in store


def test_two_keys_of_the_store_may_have_the_same_row(cached):
    store = Store("rows", RECIPE)
    assert recover_rows(store, ["a", "b"], "data/rows", {"a": KEYS[7], "b": KEYS[7]}.get) == 2
    assert np.array_equal(store["a"], store["b"])


def test_rows_of_another_recipe_are_not_recovered(cached):
    assert recover_rows(Store("rows", {"size": 4}), KEYS, "data/rows") == 0


def test_nothing_is_recovered_without_a_record_or_its_objects(cached, tmp_path):
    assert recover_rows(Store("rows", RECIPE), KEYS, "data/other") == 0
    assert read_recorded("data/other") is None
    for name, place in cached.items():
        if name.startswith("rows"):
            place.unlink()
    assert recover_rows(Store("rows", RECIPE), KEYS, "data/rows") == 0
    (tmp_path / "dvc.lock").unlink()
    assert recover_rows(Store("rows", RECIPE), KEYS, "data/rows") == 0


def test_a_damaged_object_is_not_recovered(cached):
    store = Store("rows", RECIPE)
    for name, place in cached.items():
        if name.startswith("rows"):
            place.write_bytes(place.read_bytes()[:-3] + b"xyz")
    assert recover_rows(store, KEYS, "data/rows") == 0
    assert store.missing(KEYS) == KEYS


def test_an_image_is_recovered_to_one_of_two_stores(project):
    image = Image(size=64, resampling="bicubic", colour="grey")
    large, other = image_stores(image)
    other.add(KEYS[:3], np.stack([row(key) for key in KEYS[:3]]))
    Path("data").mkdir()
    lines = ["sha256,pixel_sha256", *(f"{key},{key}" for key in KEYS[:20])]
    Path("data/index.csv").write_text("\n".join(lines) + "\n")
    write_array_folder("data/images", KEYS[:20], row, large.recipe)
    record("data/images", "data/index.csv")
    large, other = image_stores(image)
    assert large.missing(KEYS[:20]) == KEYS[:3] and other.missing(KEYS[:20]) == KEYS[3:20]
