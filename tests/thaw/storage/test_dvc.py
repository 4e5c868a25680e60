"""Check of stage inputs against dvc.lock."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from thaw.errors import UserError
from thaw.storage.arrays import ArrayFolder, write_array_folder
from thaw.storage.dvc import recorded_params, recorded_stages, verify_outputs

KEYS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def cache(content: bytes, suffix: str = "") -> str:
    """Add an object to DVC's cache, and return its name."""
    name = md5(content) + suffix
    path = Path(".dvc/cache/files/md5") / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> Path:
    """Return a folder of rows that, like data/split.csv, is in DVC's cache and in dvc.lock."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    folder = Path("data/features/b")
    write_array_folder(folder, KEYS, lambda key: np.full((3,), int(key[:4], 16), "float32"), {})
    entries = [
        {"md5": cache(file.read_bytes()), "relpath": file.name} for file in sorted(folder.iterdir())
    ]
    Path("data/split.csv").write_text("a,b\n1,2\n")
    outs = [
        {"path": folder.as_posix(), "md5": cache(json.dumps(entries).encode(), ".dir")},
        {"path": "data/split.csv", "md5": cache(Path("data/split.csv").read_bytes())},
    ]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"s": {"outs": outs}}}))
    return folder


def test_outputs_as_recorded_pass(recorded):
    verify_outputs(recorded, "data/split.csv", "data/never_recorded")
    arrays = ArrayFolder(recorded)
    assert (arrays.select(KEYS)[:, 0] == [int(key[:4], 16) for key in KEYS]).all()


@pytest.mark.parametrize("read", ["one", "select"])
@pytest.mark.parametrize("damage", ["modified", "truncated", "removed"])
def test_a_damaged_file_is_reported_when_one_of_its_rows_is_read(recorded, damage, read):
    file = sorted(recorded.glob("rows*.npy"))[1]
    values = [int(value) for value in np.load(file)[:, 0]]
    content = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "truncated" else content[:-1] + b"!")
    arrays = ArrayFolder(recorded)
    inside = [key for key in KEYS if int(key[:4], 16) in values]
    whole = [key for key in KEYS if key not in inside]
    assert len(arrays.select(whole)) == len(whole), "the other files are used"
    with pytest.raises(UserError, match=f"{file.name} .* is not used"):
        arrays[inside[0]] if read == "one" else arrays.select(inside)


def test_only_a_modified_object_of_the_cache_is_removed(recorded):
    split = Path("data/split.csv")
    object_ = next(Path(".dvc/cache").rglob(md5(split.read_bytes())[2:]))
    split.write_text("a,b\n1,3\n")
    with pytest.raises(UserError, match="data/split.csv"):
        verify_outputs(split)
    assert object_.exists()
    object_.write_text("also wrong")
    with pytest.raises(UserError, match="modified too"):
        verify_outputs(split)
    assert not object_.exists()


def test_a_modified_listing_is_refused(recorded):
    (listing,) = Path(".dvc/cache").rglob("*.dir")
    listing.write_bytes(listing.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"\.dir .* is not used"):
        ArrayFolder(recorded)
    assert not listing.exists()


def test_the_lock_is_read_again_when_it_has_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recorded_stages() == {} and recorded_params("split") == {}
    for seed in (1, 23):
        Path("dvc.lock").write_text(
            f"stages: {{split: {{cmd: x, params: {{params.yaml: {{seed: {seed}}}}}}}}}\n"
        )
        assert recorded_params("split") == {"seed": seed}
        assert recorded_stages()["split"]["cmd"] == "x"
        assert recorded_stages() is recorded_stages(), "parsed once"
