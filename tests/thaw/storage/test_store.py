"""The content-addressed store."""

import subprocess
import sys

import fsspec
import numpy as np
import pytest

from thaw.errors import UserError
from thaw.storage.store import CachedValue, Store, recipe_digest, store_root

RECIPE = {"network": "VGG16", "size": 150}


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))


def rows(*values: int) -> np.ndarray:
    return np.stack([np.full((2, 3), value, "float32") for value in values])


def test_rows_are_read_by_their_keys():
    store = Store("frozen", RECIPE)
    assert store.missing(["a", "b", "a"]) == ["a", "b"]
    store.add(["b", "a"], rows(2, 1))
    assert store.missing(["c", "a", "b"]) == ["c"]
    assert "a" in store and "c" not in store
    for reader in (store, Store("frozen", RECIPE)):  # this run and the next
        assert (reader["a"] == 1).all() and (reader["b"] == 2).all()
        assert reader["a"].dtype == "float32"
        reader["a"][:] = 3  # a copy
        assert (reader["a"] == 1).all()


def test_an_unknown_key_raises_key_error():
    with pytest.raises(KeyError):
        Store("frozen", RECIPE)["a"]


def test_recipes_and_kinds_are_separate():
    Store("frozen", RECIPE).add(["a"], rows(1))
    assert "a" not in Store("frozen", {**RECIPE, "size": 224})
    assert "a" not in Store("images", RECIPE)
    assert "a" in Store("frozen", dict(reversed(RECIPE.items())))
    assert (
        recipe_digest({"a": 1, "b": 2})
        == recipe_digest({"b": 2, "a": 1})
        != recipe_digest({"a": 2, "b": 1})
    )


def test_rows_without_their_file_of_keys_are_ignored():
    """A run that is killed between the two writes leaves them."""
    store = Store("frozen", RECIPE)
    store.add(["a"], rows(1))
    (keys,) = store.folder.glob("*.keys")
    keys.unlink()
    again = Store("frozen", RECIPE)
    assert again.missing(["a"]) == ["a"]
    again.add(["a"], rows(1))
    assert (Store("frozen", RECIPE)["a"] == 1).all()


def test_unfinished_files_are_ignored():
    store = Store("frozen", RECIPE)
    (store.folder / "x.npy.1.part").write_bytes(b"half")
    (store.folder / "x.keys.1.part").write_bytes(b"a")
    assert "a" not in Store("frozen", RECIPE)


def test_no_temporary_file_is_left_after_a_write():
    store = Store("frozen", RECIPE)
    store.add(["a", "b"], rows(1, 2))
    assert sorted(p.suffix for p in store.folder.iterdir()) == [".json", ".keys", ".npy"]


def test_two_stores_may_add_overlapping_parts():
    one, other = Store("frozen", RECIPE), Store("frozen", RECIPE)
    one.add(["a", "b"], rows(1, 2))
    other.add(["b", "c"], rows(2, 3))
    other.add(["a", "b"], rows(1, 2))
    again = Store("frozen", RECIPE)
    assert [int(again[key][0, 0]) for key in "abc"] == [1, 2, 3]
    assert [int(other[key][0, 0]) for key in "abc"] == [1, 2, 3]


def test_two_processes_may_add_at_the_same_time():
    program = """
import sys, numpy
from thaw.storage.store import Store
store = Store("frozen", {"of": "two processes"})
for start in range(0, 40, 4):
    keys = [f"k{n}" for n in range(start, start + 4 + int(sys.argv[1]))]
    store.add(keys, numpy.array([[int(key[1:])] * 1000 for key in keys]))
"""
    both = [subprocess.Popen([sys.executable, "-c", program, str(n)]) for n in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    store = Store("frozen", {"of": "two processes"})
    assert store.missing([f"k{n}" for n in range(41)]) == []
    assert all((store[f"k{n}"] == n).all() for n in range(41))


def test_thaw_store_sets_the_folder(tmp_path):
    assert store_root() == tmp_path / "store"


def test_the_default_folder_is_in_dvcs_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    assert store_root().resolve() == tmp_path / ".dvc" / "cache" / "thaw"
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../shared\n    type = copy\n")
    assert store_root().resolve() == tmp_path / "shared" / "thaw"
    (tmp_path / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {tmp_path / 'own'}\n")
    assert store_root() == tmp_path / "own" / "thaw"


def test_dvcs_system_and_global_configurations_are_read(tmp_path, monkeypatch):
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for level in ("system", "global"):
        (tmp_path / level).mkdir()
        monkeypatch.setenv(f"DVC_{level.upper()}_CONFIG_DIR", str(tmp_path / level))
    (tmp_path / "system" / "config").write_text("[cache]\n    dir = systems\n")
    assert store_root() == tmp_path / "system" / "systems" / "thaw"
    (tmp_path / "global" / "config").write_text("[cache]\n    dir = ~/shared\n")
    assert store_root() == tmp_path / "home" / "shared" / "thaw"


def test_the_cache_folder_is_the_one_that_dvc_reports(tmp_path, monkeypatch):
    """DVC writes the setting and reports the folder."""
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.chdir(tmp_path)

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    dvc("init", "--no-scm", "--quiet")
    dvc("cache", "dir", "--local", "a shared place/cache")
    assert store_root().resolve().parent == (tmp_path / dvc("cache", "dir")).resolve()


def test_queued_experiments_use_the_store_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert store_root() == tmp_path / ".dvc" / "cache" / "thaw"
    monkeypatch.setenv("THAW_STORE", "beside")
    assert store_root() == tmp_path / "beside"


@pytest.mark.parametrize("damage", ["modified", "truncated", "removed", "keys"])
def test_a_damaged_shard_is_dropped_and_can_be_added_again(damage, capsys):
    store = Store("frozen", RECIPE)
    store.add(["a", "b"], rows(1, 2))
    store.add(["c"], rows(3))
    (file,) = [keys for keys in store.folder.glob("*.keys") if "a" in keys.read_text()]
    array = file.with_suffix(".npy")
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    if damage == "modified":
        array.write_bytes(content)
    elif damage == "truncated":
        array.write_bytes(content[:-4])
    elif damage == "removed":
        array.unlink()
    else:
        file.write_text("a")
    again = Store("frozen", RECIPE)
    assert again.missing(["a", "b", "c"]) == ["a", "b"]
    assert "was truncated or modified: its parts are dropped" in capsys.readouterr().out
    assert not file.exists()
    with pytest.raises(KeyError):
        again["a"]
    again.add(["a", "b"], rows(1, 2))
    assert (Store("frozen", RECIPE)["b"] == 2).all()


def test_a_shard_of_an_earlier_version_is_used_unchecked():
    store = Store("frozen", RECIPE)
    store.add(["a"], rows(1))
    for file in store.folder.glob("*-*"):
        file.rename(file.with_stem(file.stem.split("-")[0]))
    assert (Store("frozen", RECIPE)["a"] == 1).all()


def test_a_cached_value_that_cannot_be_read_or_written_is_ignored():
    cached = CachedValue("layers", "VGG16 \udcff")
    assert cached.read() is None
    cached.write(["block1_conv1"])
    assert CachedValue("layers", "VGG16 \udcff").read() == ["block1_conv1"]
    assert CachedValue("layers", "VGG19").read() is None
    cached.file.write_bytes(b"[" * 100_000)
    assert cached.read() is None
    cached.file.unlink()
    cached.file.parent.rmdir()
    cached.file.parent.write_text("in the way")
    cached.write(["block1_conv1"])
    assert cached.read() is None


def test_a_file_in_place_of_the_store_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"^THAW_STORE = .+ is no folder .+ Set THAW_STORE"):
        store_root()


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Share the store at an address, and return a function that moves to another machine."""
    monkeypatch.setenv("THAW_STORE", "memory://thaw")
    yield lambda name: monkeypatch.setenv("DVC_ROOT", str(tmp_path / name))
    fsspec.filesystem("memory").rm("/thaw", recursive=True)


def test_another_machine_downloads_shards_of_a_shared_store(shared):
    shared("one")
    Store("frozen", RECIPE).add(["a", "b"], rows(1, 2))
    Store("images", RECIPE).add(["a"], rows(1))
    shared("other")
    store = Store("frozen", RECIPE)
    assert not [*store.folder.glob("*.npy")]
    assert store.missing(["a", "b", "c"]) == ["c"]
    assert (store["b"] == 2).all() and len([*store.folder.glob("*.npy")]) == 1
    assert Store("images", RECIPE).missing(["a"]) == ["a"], "each machine decodes for itself"


def test_a_damaged_shard_of_a_shared_store_is_removed(shared, capsys):
    shared("one")
    Store("frozen", RECIPE).add(["a"], rows(1))
    files = fsspec.filesystem("memory")
    (array,) = files.glob("/thaw/frozen/*/*.npy")
    files.pipe(array, files.cat(array)[:-1])
    shared("other")
    store = Store("frozen", RECIPE)
    assert store.missing(["a"]) == ["a"]
    assert "was truncated or modified: its parts are dropped" in capsys.readouterr().out
    store.add(["a"], rows(1))
    shared("third")
    assert (Store("frozen", RECIPE)["a"] == 1).all()


def test_parts_from_before_a_store_was_shared_are_uploaded(shared, monkeypatch):
    shared("one")
    with monkeypatch.context() as before:
        before.delenv("THAW_STORE")
        Store("frozen", RECIPE).add(["a"], rows(1))
    Store("frozen", RECIPE).share(["a"])
    shared("other")
    assert (Store("frozen", RECIPE)["a"] == 1).all()
