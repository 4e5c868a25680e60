"""A disk's faults: what is cut or altered in a remote, in the cache, in the store or in an output
is named where it is used, and fetched or computed again. It is never trained on."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.faults.conftest import Clone
from tests.faults.servers import folder

ANOTHER = "subnets.logistic.C=0.5"
USED = {
    "data/raw": "dataset.image.resampling=bilinear",
    "data/images": "backbones.mobile.batch_size=16",
    "data/index.csv": "dataset.split.seed=1",
    "data/split.csv": ANOTHER,
    "data/weights/mobile.npz": "backbones.mobile.batch_size=16",
    "data/features/mobile": ANOTHER,
    "models/logistic": "evaluate.ece_bins=10",
}
"""Outputs, and a change that has them read."""


def flip(path: Path) -> None:
    """One bit of a file, which keeps its time and permissions: DVC sees no change."""
    was = path.stat()
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 1
    _rewrite(path, content, was)


def cut(path: Path) -> None:
    """A file's last third is gone."""
    was = path.stat()
    content = path.read_bytes()
    _rewrite(path, content[: -len(content) // 3], was)


def _rewrite(path: Path, content: bytes, was: os.stat_result) -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:  # in place, as a disk does: through every hard link
        file.write(content)
        file.truncate()
    path.chmod(stat.S_IMODE(was.st_mode))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def largest(clone: Clone, out: str, at: Path | None = None) -> tuple[str, Path]:
    """The largest file of a recorded output: its path, and its object in the cache or `at`."""
    listing = clone.object(clone.outs()[out], at)
    if not listing.name.endswith(".dir"):
        return out, listing
    found = [
        (clone.object(entry["md5"], at).stat().st_size, entry["relpath"], entry["md5"])
        for entry in json.loads(listing.read_text())
    ]
    _, name, md5 = max(found)
    return f"{out}/{name}", clone.object(md5, at)


@pytest.fixture
def linked(trained, tmp_path) -> Clone:
    """A copy whose outputs are links into its cache again."""
    clone = trained.copy(tmp_path / "clone")
    clone.dvc("checkout", "--relink")
    return clone


@pytest.mark.parametrize(
    ("out", "damage"),
    [(out, cut if number % 2 else flip) for number, out in enumerate(USED)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_damaged_object_of_the_cache_is_not_used_and_made_anew(out, damage, linked):
    before = linked.outs()[out]
    name, damaged = largest(linked, out)
    damage(damaged)
    change = ("-S", USED[out])
    said = linked.dvc("exp", "run", *change, fails=True)
    assert f"thaw: {name} " in said
    assert "is not used" in said
    assert "Traceback" not in said
    linked.dvc("exp", "run", *change)
    assert linked.outs()[out] == before
    assert linked.repro() == []


def test_a_damaged_object_of_a_remote_is_found_on_pull_or_on_use(trained, tmp_path):
    with folder() as remote:
        first = trained.copy(tmp_path / "first")
        first.use(remote)
        first.dvc("push")
        out = "data/features/mobile"
        name, damaged = largest(first, out, at=remote.folder)
        flip(damaged)

        # README's `verify`: what is pulled is held against its name
        careful = Clone(tmp_path / "careful", of=first, mirror=first.environment["THAW_MIRROR"])
        assert out in careful.dvc("pull", fails=True)
        assert not careful.object(damaged.parent.name + damaged.name).exists()
        assert careful.repro() == ["features@mobile"]
        assert careful.outs() == first.outs()

        # without it the damage is pulled, and named where it would be used
        careless = Clone(tmp_path / "careless", of=first)
        careless.dvc("remote", "modify", "--local", "team", "verify", "false")
        careless.dvc("pull")
        said = careless.dvc("exp", "run", "-S", ANOTHER, fails=True)
        assert f"thaw: {name} " in said

        # mended in the remote, it is pulled; DVC takes a folder's objects for there if its list is
        damaged.unlink()
        first.object(first.outs()[out], remote.folder).unlink()
        careful.dvc("push")
        careless.dvc("pull", "--force")  # over the damaged file
        careless.dvc("exp", "run", "-S", ANOTHER)


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_part_of_the_store_is_computed_again(damage, trained, tmp_path):
    clone = trained.copy(tmp_path / "clone")
    before = clone.outs()["data/features/mobile"]
    shards = sorted((clone.cache / "thaw/frozen").rglob("*.npy"))
    damage(shards[0])
    # only the store has the features now
    shutil.rmtree(clone.folder / "data/features")
    for entry in json.loads(clone.object(before).read_text()):
        if entry["relpath"].endswith(".npy"):  # the keys are those of data/images too
            clone.object(entry["md5"]).unlink(missing_ok=True)  # some features are the same
    clone.object(before).unlink()
    said = clone.dvc("repro")
    assert clone.ran(said) == ["features@mobile"]
    assert "was cut or altered: its parts are dropped" in said
    assert clone.outs()["data/features/mobile"] == before


def test_outputs_are_links_that_a_stage_replaces_and_does_not_write_through(linked):
    """What lies in the cache is stored once, read-only, and no run changes it."""

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
    kept = objects()
    # every stage writes its output anew, over the links of the last run
    linked.dvc("repro", "--force")
    linked.dvc("exp", "run", "-S", "dataset.image.resampling=bilinear")
    now = objects()
    assert {name: now[name] for name in kept} == kept
