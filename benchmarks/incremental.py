"""Measure the cost of new images: `python -m benchmarks.incremental [FOLDER]`.

A clone with an empty cache runs N images through VGG16 with random weights, then k more are added
and it runs again. The images are those of FOLDER, which has a sub-folder for each class, or
generated photographs. A second clone starts with all of them. Prints the seconds of the features
stage and their ratio, whether both clones have the same bytes, what `dvc push` sent for the k
images, and what a third clone, which pulled, computes for k others.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clone import Clone
from benchmarks.photograph import photograph

STAGE = "features@vgg16"


def main() -> None:
    """Measure and print the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--new", type=int, default=20)
    parser.add_argument("--size", type=int, default=150, help="pixels")
    chosen = parser.parse_args()
    os.environ.pop("THAW_STORE", None)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        images = here / "images"
        count = chosen.images + 2 * chosen.new
        files = (
            _listed(chosen.folder, count) if chosen.folder else _generated(here / "drawn", count)
        )
        overrides = ["dataset=folder", f"dataset.source.path={images}"]
        overrides += [f"dataset.image.size={chosen.size}", "backbones.vgg16.weights=random"]
        asked = ["exp", "run", STAGE, *(part for o in overrides for part in ("-S", o))]

        _copy(files[: chosen.images], images)
        first = Clone(here / "first", shared=False)
        full = first.dvc(*asked, quiet=True).seconds[STAGE]
        first.dvc("remote", "add", "-d", "shared", str(here / "remote"), quiet=True)
        first.dvc("push", quiet=True)
        before = _bytes(here / "remote")

        _copy(files[chosen.images : -chosen.new], images)
        again = first.dvc("repro", STAGE, quiet=True)
        new = again.seconds[STAGE]
        print(f"all of {chosen.images:,}: {full:.1f} s; {chosen.new} more: {new:.1f} s")
        print(f"ratio {new / full:.2f}; the stages printed:")
        print("\n".join(f"  {line}" for line in again.output.splitlines() if "are new" in line))
        first.dvc("push", quiet=True)
        sent = {name: size for name, size in _bytes(here / "remote").items() if name not in before}
        row = np.load(next((first.folder / "data/features/vgg16").glob("*.npy")))[0].nbytes
        print(f"dvc push sent {sum(sent.values()) / 1e6:.2f} MB in {len(sent)} files:")
        for out in ("data/features/vgg16", "data/images", "data/raw"):
            size = sum(size for name, size in sent.items() if name in _objects(first, out))
            of_new = (
                f" = {size / (chosen.new * row):.1f} times the new features"
                if "feat" in out
                else ""
            )
            print(f"  {out}: {size / 1e6:.2f} MB{of_new}")

        scratch = Clone(here / "scratch", shared=False)
        scratch.dvc(*asked, quiet=True)
        for out in ("data/features/vgg16", "data/images"):
            same = _md5(first, out) == _md5(scratch, out)
            print(f"{out}: {'the same bytes as' if same else 'OTHER BYTES THAN'} from scratch")

        first.save()
        colleague = Clone(here / "colleague", shared=False, source=first.folder)
        colleague.dvc("remote", "add", "-d", "-f", "shared", str(here / "remote"), quiet=True)
        colleague.dvc("pull", STAGE, "preprocess", "download", quiet=True)
        _copy(files[-chosen.new :], images)
        output = colleague.dvc("repro", STAGE, quiet=True).output
        print(f"a clone that pulled, {chosen.new} others:")
        print("\n".join(f"  {line}" for line in output.splitlines() if "are new" in line))


def _listed(folder: Path, count: int) -> list[tuple[Path, str]]:
    """Return `count` images of a folder, the classes in turn, each with its name CLASS/FILE."""
    classes = [sorted(c.iterdir()) for c in sorted(folder.iterdir()) if c.is_dir()]
    turns = [file for files in zip(*classes, strict=False) for file in files]
    if len(turns) < count:
        raise SystemExit(f"{folder} has {len(turns)} images in pairs: expected {count}.")
    return [(file, f"{file.parent.name}/{file.name}") for file in turns[:count]]


def _generated(folder: Path, count: int) -> list[tuple[Path, str]]:
    """Write `count` generated photographs; return each with its name CLASS/FILE."""
    random = np.random.default_rng(0)
    folder.mkdir()
    files = []
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        path.write_bytes(photograph(random))
        files.append((path, f"{'even' if number % 2 else 'odd'}/{path.name}"))
    return files


def _copy(files: list[tuple[Path, str]], images: Path) -> None:
    for file, name in files:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, images / name)


def _bytes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each object of a remote or a cache, by its MD5."""
    root = folder / "files/md5"
    return {f.parent.name + f.name: f.stat().st_size for f in root.rglob("*") if f.is_file()}


def _md5(clone: Clone, out: str) -> str:
    outs = [o for stage in clone.read("dvc.lock")["stages"].values() for o in stage.get("outs", [])]
    return next(o["md5"] for o in outs if o["path"] == out)


def _objects(clone: Clone, out: str) -> set[str]:
    md5 = _md5(clone, out)
    listing = clone.read(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    return {md5, *(entry["md5"] for entry in listing)}


if __name__ == "__main__":
    main()
