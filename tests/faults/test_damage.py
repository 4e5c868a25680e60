"""Truncated and modified files in a remote, the cache, the store or an output.

They are reported when a stage reads them, fetched or computed again, and never used.
"""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.faults.conftest import Clone
from tests.faults.servers import folder

ANOTHER = "subnets.logistic.C=0.5"
CHANGES = {  # outputs, and an override that makes a stage read them
    "data/raw": "dataset.image.resampling=bilinear",
    "data/images": "backbones.mobile.batch_size=16",
    "data/index.csv": "dataset.split.seed=1",
    "data/split.csv": ANOTHER,
    "data/weights/mobile.npz": "backbones.mobile.batch_size=16",
    "data/features/mobile": ANOTHER,
    "models/logistic": "evaluate.ece_bins=10",
}


def flip(path: Path) -> None:
    """Flip one bit of a file. It keeps its time and permissions, so DVC sees no change."""
    was = path.stat()
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 1
    _rewrite(path, content, was)


def truncate(path: Path) -> None:
    """Remove the last third of a file."""
    was = path.stat()
    content = path.read_bytes()
    _rewrite(path, content[: -len(content) // 3], was)


def _rewrite(path: Path, content: bytes, was: os.stat_result) -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:  # in place, as by a disk: all hard links see it
        file.write(content)
        file.truncate()
    path.chmod(stat.S_IMODE(was.st_mode))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def largest(clone: Clone, out: str, at: Path | None = None) -> tuple[str, Path]:
    """Return the path of the largest file of an output, and of its object in the cache or `at`."""
    listing = clone.object(clone.outs()[out], at)
    if not listing.name.endswith(".dir"):
        return out, listing
    files = [
        (clone.object(entry["md5"], at).stat().st_size, entry["relpath"], entry["md5"])
        for entry in json.loads(listing.read_text())
    ]
    _, name, md5 = max(files)
    return f"{out}/{name}", clone.object(md5, at)


@pytest.fixture
def linked(trained, tmp_path) -> Clone:
    """Return a copy of the clone whose outputs are links into its cache."""
    clone = trained.copy(tmp_path / "clone")
    clone.dvc("checkout", "--relink")
    return clone


@pytest.mark.parametrize(
    ("out", "damage"),
    [(out, truncate if number % 2 else flip) for number, out in enumerate(CHANGES)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_damaged_object_of_the_cache_is_not_used_and_computed_again(out, damage, linked):
    before = linked.outs()[out]
    name, damaged = largest(linked, out)
    damage(damaged)
    change = ("-S", CHANGES[out])
    output = linked.dvc("exp", "run", *change, fails=True)
    assert f"thaw: {name} " in output
    assert "is not used" in output
    assert "Traceback" not in output
    linked.dvc("exp", "run", *change)
    assert linked.outs()[out] == before
    assert linked.repro() == []


def test_a_damaged_object_of_a_remote_is_detected_on_pull_or_on_use(trained, tmp_path):
    with folder() as remote:
        first = trained.copy(tmp_path / "first")
        first.use(remote)
        first.dvc("push")
        out = "data/features/mobile"
        name, damaged = largest(first, out, at=remote.folder)
        flip(damaged)

        # with the remote's option `verify`, pulled objects are hashed
        careful = Clone(tmp_path / "careful", of=first, mirror=first.environment["THAW_MIRROR"])
        assert out in careful.dvc("pull", fails=True)
        assert not careful.object(damaged.parent.name + damaged.name).exists()
        assert careful.repro() == ["features@mobile"]
        assert careful.outs() == first.outs()

        # without it, the damaged object is pulled, and reported by the stage that reads it
        careless = Clone(tmp_path / "careless", of=first)
        careless.dvc("remote", "modify", "--local", "team", "verify", "false")
        careless.dvc("pull")
        output = careless.dvc("exp", "run", "-S", ANOTHER, fails=True)
        assert f"thaw: {name} " in output

        # push the object again; DVC assumes that a folder's objects exist if its listing does
        damaged.unlink()
        first.object(first.outs()[out], remote.folder).unlink()
        careful.dvc("push")
        careless.dvc("pull", "--force")  # over the damaged file
        careless.dvc("exp", "run", "-S", ANOTHER)


@pytest.mark.parametrize("damage", [flip, truncate])
def test_a_damaged_part_of_the_store_is_computed_again(damage, trained, tmp_path):
    clone = trained.copy(tmp_path / "clone")
    before = clone.outs()["data/features/mobile"]
    shards = sorted((clone.cache / "thaw/frozen").rglob("*.npy"))
    damage(shards[0])
    # only the store still has the features
    shutil.rmtree(clone.folder / "data/features")
    for entry in json.loads(clone.object(before).read_text()):
        if entry["relpath"].endswith(".npy"):  # data/images has the same keys.txt
            clone.object(entry["md5"]).unlink(missing_ok=True)  # some rows are identical
    clone.object(before).unlink()
    output = clone.dvc("repro")
    assert clone.ran(output) == ["features@mobile"]
    assert "was truncated or modified: its parts are dropped" in output
    assert clone.outs()["data/features/mobile"] == before


def test_stages_replace_linked_outputs_and_never_write_through_them(linked):
    """Objects of the cache are stored once, read-only, and no run changes them."""

    def objects() -> dict[str, tuple[int, bytes]]:
        return {
            path.relative_to(linked.cache).as_posix(): path.read_bytes()
            for path in (linked.cache / "files/md5").rglob("*")
            if path.is_file()
        }

    features = sorted((linked.folder / "data/features/mobile").glob("*.npy"))
    for file in features:
        assert not file.stat().st_mode & 0o222, "a user's program cannot write through it"
    names = {
        entry["relpath"]: entry["md5"]
        for entry in json.loads(linked.object(linked.outs()["data/features/mobile"]).read_text())
    }
    kinds = linked.dvc("version")
    if "reflink" not in kinds.split("Cache types:")[1].splitlines()[0]:
        for file in features:
            assert file.samefile(linked.object(names[file.name])), "stored once"
    before = objects()
    # every stage writes its output again, over the links of the last run
    linked.dvc("repro", "--force")
    linked.dvc("exp", "run", "-S", "dataset.image.resampling=bilinear")
    after = objects()
    assert {name: after[name] for name in before} == before
