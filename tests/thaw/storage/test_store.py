import subprocess
import sys

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


def test_what_was_added_is_found_again_by_its_key():
    store = Store("frozen", RECIPE)
    assert store.missing(["a", "b", "a"]) == ["a", "b"]
    store.add(["b", "a"], rows(2, 1))
    assert store.missing(["c", "a", "b"]) == ["c"]
    assert "a" in store and "c" not in store
    for found in (store, Store("frozen", RECIPE)):  # and by the next run
        assert (found["a"] == 1).all() and (found["b"] == 2).all()
        assert found["a"].dtype == "float32"
        found["a"][:] = 3  # a copy
        assert (found["a"] == 1).all()


def test_a_key_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        Store("frozen", RECIPE)["a"]


def test_another_recipe_or_kind_is_another_place():
    Store("frozen", RECIPE).add(["a"], rows(1))
    assert "a" not in Store("frozen", {**RECIPE, "size": 224})
    assert "a" not in Store("images", RECIPE)
    assert "a" in Store("frozen", dict(reversed(RECIPE.items())))
    assert (
        recipe_digest({"a": 1, "b": 2})
        == recipe_digest({"b": 2, "a": 1})
        != recipe_digest({"a": 2, "b": 1})
    )


def test_rows_without_their_keys_do_not_count():
    """A run that was killed between the two files left them."""
    store = Store("frozen", RECIPE)
    store.add(["a"], rows(1))
    (keys,) = store.folder.glob("*.keys")
    keys.unlink()
    again = Store("frozen", RECIPE)
    assert again.missing(["a"]) == ["a"]
    again.add(["a"], rows(1))
    assert (Store("frozen", RECIPE)["a"] == 1).all()


def test_half_written_files_do_not_count():
    store = Store("frozen", RECIPE)
    (store.folder / "x.npy.1.part").write_bytes(b"half")
    (store.folder / "x.keys.1.part").write_bytes(b"a")
    assert "a" not in Store("frozen", RECIPE)


def test_nothing_but_whole_files_is_left_after_a_write():
    store = Store("frozen", RECIPE)
    store.add(["a", "b"], rows(1, 2))
    assert sorted(p.suffix for p in store.folder.iterdir()) == [".json", ".keys", ".npy"]


def test_two_users_add_the_same_and_other_parts_at_once():
    one, other = Store("frozen", RECIPE), Store("frozen", RECIPE)
    one.add(["a", "b"], rows(1, 2))
    other.add(["b", "c"], rows(2, 3))
    other.add(["a", "b"], rows(1, 2))
    again = Store("frozen", RECIPE)
    assert [int(again[key][0, 0]) for key in "abc"] == [1, 2, 3]
    assert [int(other[key][0, 0]) for key in "abc"] == [1, 2, 3]


def test_two_processes_add_at_once():
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


def test_the_store_is_where_thaw_store_says(tmp_path):
    assert store_root() == tmp_path / "store"


def test_without_thaw_store_it_is_in_dvcs_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    assert store_root().resolve() == tmp_path / ".dvc" / "cache" / "thaw"
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../shared\n    type = copy\n")
    assert store_root().resolve() == tmp_path / "shared" / "thaw"
    (tmp_path / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {tmp_path / 'own'}\n")
    assert store_root() == tmp_path / "own" / "thaw"


def test_dvcs_configuration_for_all_repositories_counts_too(tmp_path, monkeypatch):
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


def test_the_cache_is_the_one_that_dvc_uses(tmp_path, monkeypatch):
    """DVC writes the setting itself, and says where that is."""
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.chdir(tmp_path)

    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    dvc("init", "--no-scm", "--quiet")
    dvc("cache", "dir", "--local", "a shared place/cache")
    assert store_root().resolve().parent == (tmp_path / dvc("cache", "dir")).resolve()


def test_in_a_queued_experiments_copy_it_is_the_repositorys(tmp_path, monkeypatch):
    monkeypatch.delenv("THAW_STORE")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert store_root() == tmp_path / ".dvc" / "cache" / "thaw"
    monkeypatch.setenv("THAW_STORE", "beside")
    assert store_root() == tmp_path / "beside"


@pytest.mark.parametrize("damage", ["altered", "cut", "gone", "keys"])
def test_a_damaged_shard_is_dropped_and_can_be_added_again(damage, capsys):
    store = Store("frozen", RECIPE)
    store.add(["a", "b"], rows(1, 2))
    store.add(["c"], rows(3))
    (file,) = [keys for keys in store.folder.glob("*.keys") if "a" in keys.read_text()]
    array = file.with_suffix(".npy")
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    if damage == "altered":
        array.write_bytes(content)
    elif damage == "cut":
        array.write_bytes(content[:-4])
    elif damage == "gone":
        array.unlink()
    else:
        file.write_text("a")
    again = Store("frozen", RECIPE)
    assert again.missing(["a", "b", "c"]) == ["a", "b"]
    assert "was cut or altered: its parts are dropped" in capsys.readouterr().out
    assert not file.exists()
    with pytest.raises(KeyError):
        again["a"]
    again.add(["a", "b"], rows(1, 2))
    assert (Store("frozen", RECIPE)["b"] == 2).all()


def test_a_shard_of_an_earlier_version_is_taken_as_it_is():
    store = Store("frozen", RECIPE)
    store.add(["a"], rows(1))
    for file in store.folder.glob("*-*"):
        file.rename(file.with_stem(file.stem.split("-")[0]))
    assert (Store("frozen", RECIPE)["a"] == 1).all()


def test_a_note_is_read_again_and_not_missed_where_it_cannot_be():
    note = CachedValue("layers", "VGG16 \udcff")
    assert note.read() is None
    note.write(["block1_conv1"])
    assert CachedValue("layers", "VGG16 \udcff").read() == ["block1_conv1"]
    assert CachedValue("layers", "VGG19").read() is None
    note.file.write_bytes(b"[" * 100_000)
    assert note.read() is None
    note.file.unlink()
    note.file.parent.rmdir()
    note.file.parent.write_text("in the way")
    note.write(["block1_conv1"])
    assert note.read() is None


def test_a_store_that_is_no_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"^THAW_STORE = .+ is no folder .+ Set THAW_STORE"):
        store_root()
