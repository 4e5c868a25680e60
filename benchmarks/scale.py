"""Measure time and memory from 1,000 to 100,000 images: `python -m benchmarks.scale [COUNT ...]`.

For each count, a clone with an empty cache takes a folder of generated images of 32 pixels through
every stage up to an evaluated logistic regression on features of VGG16 with random weights. Prints
the seconds of each stage (DVC's hashing and linking included) and the peak memory of its process,
the seconds of `dvc repro` with nothing to do, and the size and number of files of the cache.
"""

import argparse
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.clone import Clone

EVALUATE = "evaluate@logistic"
A_FOLDER = 10_000  # images of a class in one folder; more are slow to list


def main() -> None:
    """Measure and print the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    os.environ.pop("THAW_STORE", None)
    for count in parser.parse_args().counts:
        with tempfile.TemporaryDirectory() as folder:
            _one(Path(folder), count)


def _one(here: Path, count: int) -> None:
    _draw(here / "images", count)
    clone = Clone(here / "thaw", shared=False)
    overrides = [
        "dataset=folder",
        f"dataset.source.path={here / 'images'}",
        "dataset.image.size=32",
        "backbones.vgg16.weights=random",
        "evaluate.bootstrap=100",
    ]
    asked = ["exp", "run", EVALUATE, *(part for o in overrides for part in ("-S", o))]
    with _MemoryWatch() as watch:
        run = clone.dvc(*asked, quiet=True)
    print(f"{count:,} images: {run.total:.0f} s")
    for stage, seconds in run.seconds.items():
        peak = watch.peaks.get(stage.split("@")[0], 0)
        print(f"  {stage:<26} {seconds:7.1f} s   {peak / 2**20:6.0f} MiB")
    again = clone.dvc("repro", EVALUATE, quiet=True)
    print(
        f"  nothing to do: {again.total:.1f} s, of which the scan {sum(again.seconds.values()):.1f}"
    )
    files = [f for f in (clone.folder / ".dvc/cache").rglob("*") if f.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"  cache: {size / 1e9:.2f} GB in {len(files):,} files", flush=True)


class _MemoryWatch:
    """Measure the peak resident memory of each stage's process, ten times per second."""

    def __enter__(self):
        self.peaks: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                try:
                    words = process.cmdline()
                    name = next((w[7:-3] for w in words if w.startswith("stages/")), None)
                    if name and "python" in words[0]:
                        used = process.memory_info().rss
                        self.peaks[name] = max(used, self.peaks.get(name, 0))
                except psutil.Error:
                    continue  # it has ended


def _draw(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        label = "even" if number % 2 == 0 else "odd"
        pixels = random.integers(0, 256, (32, 32, 3), dtype="uint8")
        if label == "odd":
            pixels[8:24, 8:24] //= 2
        place = folder / label / f"{number // (2 * A_FOLDER)}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.jpg", quality=90)


if __name__ == "__main__":
    main()
