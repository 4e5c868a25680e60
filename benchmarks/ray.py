"""Measure the gain and cost of Ray's workers on one machine: `python -m benchmarks.ray`.

The same images of noise run through VGG16 with random weights into an empty store: in this process
with all its threads, and in one, two, ... workers of a Ray cluster with one thread each. Both are
warmed up, and this process and the workers take turns. Prints the median images/s of a few rounds,
the ratio, and the seconds of the first round, in which the cluster starts.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.dispatch import write_images
from benchmarks.features import BATCH
from thaw.config.backbone import Backbone
from thaw.config.runtime import Local, Ray
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.filling import Fill, filler
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.runtime.tensorflow import make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.store import Store


def main() -> None:
    """Measure and print the speeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=150, help="pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count()])
    chosen = parser.parse_args()
    backbone = Backbone(
        application="VGG16",
        weights="random",
        digest=None,
        preprocessing="own",
        precision="bfloat16",
        batch_size=BATCH,
    )
    shape = (chosen.size, chosen.size, 3)
    with tempfile.TemporaryDirectory() as folder:
        write_images(f"{folder}/images", chosen.images, shape)
        images = ArrayFolder(f"{folder}/images")
        make_deterministic(0)
        weights = Path(folder, "weights.npz")
        np.savez(weights, **named_tensors(build_application("VGG16", chosen.size)))
        frozen = FrozenBackbone(backbone, weights, shape, None)
        os.environ["THAW_STORE"] = f"{folder}/store"
        with filler(Local(kind="local"), frozen, images) as here:
            for count in chosen.workers:
                with filler(_ray(count), frozen, images) as there:
                    _compare(frozen, images, count, (here, there), chosen.rounds)


def _compare(
    frozen: FrozenBackbone, images: ArrayFolder, count: int, fills: tuple[Fill, Fill], rounds: int
) -> None:
    """Print the median images/s of this process and of the workers, which take turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds + 1):  # the first starts and warms up
        for number, fill in enumerate(fills):
            store = Store("frozen", {**frozen.recipe, "round": f"{count} {number} {round_}"})
            started = time.perf_counter()
            fill(store, images.keys, "features")
            seconds[number].append(time.perf_counter() - started)
    here, there = (len(images) / statistics.median(spent[1:]) for spent in seconds)
    print(
        f"{count} workers, one thread each: {there:.1f} images/s, {there / here:.2f} of one "
        f"process with {os.cpu_count()} threads ({here:.1f} images/s); the first round took "
        f"{seconds[1][0]:.1f} s",
        flush=True,
    )


def _ray(workers: int) -> Ray:
    return Ray(kind="ray", address=None, workers=workers, threads=1)


if __name__ == "__main__":
    main()
