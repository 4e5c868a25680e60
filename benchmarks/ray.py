"""Measure the gain and cost of Ray's workers on one machine: `python -m benchmarks.ray`.

The same images of noise run through VGG16 with random weights into an empty store: in this process
with all its threads, and in one, two, ... workers of a Ray cluster with one thread each. All are
started and warmed up, and take turns. Prints the median images/s of a few rounds, ratios, and the
seconds until a new cluster gave its first batch.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.features import BATCH
from thaw.config.backbone import Backbone
from thaw.config.runtime import Ray
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.runtime.ray_workers import WorkerPool, ray_cluster
from thaw.runtime.tensorflow import make_deterministic


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
    random = np.random.default_rng(0)
    shape = (chosen.size, chosen.size, 3)
    images = {f"{n:016x}": random.integers(0, 256, shape, "uint8") for n in range(chosen.images)}
    with tempfile.TemporaryDirectory() as folder:
        make_deterministic(0)
        weights = Path(folder, "weights.npz")
        np.savez(weights, **named_tensors(build_application("VGG16", chosen.size)))
        frozen = FrozenBackbone(backbone, weights, shape, None)
        started = time.perf_counter()
        with ray_cluster(_ray(sum(chosen.workers))):
            ways = {f"one process, {os.cpu_count()} threads": frozen.run_batches}
            for count in chosen.workers:
                pool = WorkerPool(_ray(count), frozen)
                ways[f"{count} of Ray's workers, one thread each"] = pool.run_batches
                if count == chosen.workers[0]:
                    _seconds_to_fill(
                        folder, frozen, dict(list(images.items())[:1]), pool.run_batches
                    )
                    print(f"a cluster's first batch: {time.perf_counter() - started:.1f} s")
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for round_ in range(chosen.rounds + 1):  # the first warms up
                for name, passes in ways.items():
                    spent = _seconds_to_fill(folder, frozen, images, passes)
                    if round_:
                        seconds[name].append(spent)
    speed = {name: len(images) / statistics.median(spent) for name, spent in seconds.items()}
    here, one = list(speed.values())[:2]
    for name, value in speed.items():
        print(
            f"{name:<36} {value:6.1f} images/s, {value / here:.2f} of the one process, "
            f"{value / one:.2f} of {chosen.workers[0]}"
        )


def _ray(workers: int) -> Ray:
    return Ray(kind="ray", address=None, workers=workers, threads=1)


def _seconds_to_fill(folder: str, frozen: FrozenBackbone, images: dict, passes) -> float:
    """Return the seconds to fill an empty store."""
    with tempfile.TemporaryDirectory(dir=folder) as store:
        os.environ["THAW_STORE"] = store
        started = time.perf_counter()
        frozen.fill(frozen.store(), list(images), images.__getitem__, "features", passes)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
