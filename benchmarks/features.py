"""How near the features stage comes to a bare `model.predict`: `python -m benchmarks.features`.

One process, the same images and network, in turn: keras's predict on an array in memory, and our
extraction from memory-mapped images into an empty store. Prints images a second and their ratio for
float32 and bfloat16.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from stages.engine import keras, repeatable
from stages.images.arrays import Arrays, write_arrays
from stages.networks.backbone import application, tensors
from stages.networks.frozen import Frozen
from stages.params.backbone import Backbone


def main() -> None:
    """Measure, a few rounds of both in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=150, help="pixels")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    shape = (chosen.size, chosen.size, 3)
    with tempfile.TemporaryDirectory() as folder:
        repeatable(0)
        held = tensors(application("VGG16", chosen.size))
        np.savez(Path(folder) / "weights.npz", **held)
        keys = [random.bytes(32).hex() for _ in range(chosen.images)]
        write_arrays(
            Path(folder) / "images",
            keys,
            lambda key: random.integers(0, 256, shape).astype("uint8"),
            {},
        )
        images = Arrays(Path(folder) / "images")
        inputs = images.select(images.keys)
        for precision in ("float32", "bfloat16"):
            backbone = Backbone(
                application="VGG16",
                weights="random",
                digest=None,
                preprocessing="own",
                precision=precision,
                batch_size=32,
            )
            frozen = Frozen(backbone, Path(folder) / "weights.npz", shape, None)
            frozen.network.predict(inputs[:32], batch_size=32, verbose=0)
            theirs, ours = [], []
            for number in range(chosen.rounds + 1):
                started = time.perf_counter()
                frozen.network.predict(inputs, batch_size=32, verbose=0)
                theirs.append(chosen.images / (time.perf_counter() - started))
                os.environ["THAW_STORE"] = f"{folder}/store-{precision}-{number}"
                started = time.perf_counter()
                frozen.fill(frozen.store(), images.keys, images.__getitem__, "features")
                ours.append(chosen.images / (time.perf_counter() - started))
            bare, stage = statistics.median(theirs[1:]), statistics.median(ours[1:])
            print(
                f"{precision}: predict {bare:.1f}, stage {stage:.1f} images a second, "
                f"ratio {stage / bare:.2f}"
            )


if __name__ == "__main__":
    keras.config.disable_interactive_logging()
    main()
