"""Measure training in bfloat16 on a processor without it: `python -m benchmarks.gradients`.

Trains VGG16's last block at 150 px, with random weights, on random outputs of the frozen part: in
float32, in bfloat16 by TensorFlow, and in bfloat16 as fine-tuning does it. Prints images/s and the
ratio of the last two. On a processor with AVX-512 the two are the same computation.
"""

import time

import numpy as np

from thaw.models.backbones.applications import build_application, split_at
from thaw.runtime.tensorflow import compute_precision, keras
from thaw.training.gradients import quick_in_bfloat16, sum_in_float32

BATCH, BATCHES = 16, 4


def speed(precision: str, ours: bool) -> float:
    """Return the training speed in images/s."""
    keras.utils.set_random_seed(0)
    with compute_precision(precision):
        thawed = split_at(build_application("VGG16", 150), "block5_conv1")[1]
    if ours:
        sum_in_float32(thawed)
    top = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, "softmax", dtype="float32")]
    model = keras.Sequential([thawed, *top])
    model.compile("sgd", "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.random((BATCH * BATCHES, *thawed.input_shape[1:]), "float32")
    y = random.integers(0, 2, len(x))
    model.fit(x[:BATCH], y[:BATCH], batch_size=BATCH, verbose=0)
    started = time.monotonic()
    model.fit(x, y, batch_size=BATCH, verbose=0)
    return len(x) / (time.monotonic() - started)


def main() -> None:
    """Measure and print the speeds."""
    print(f"convolutions are fast in bfloat16 here: {quick_in_bfloat16()}")
    speeds = []
    for precision, ours in (("float32", False), ("bfloat16", False), ("bfloat16", True)):
        speeds.append(speed(precision, ours))
        code = "fine-tuning" if ours else "TensorFlow"
        print(f"{precision} by {code}: {speeds[-1]:.1f} images/s", flush=True)
    print(f"ratio: {speeds[2] / speeds[1]:.1f}")


if __name__ == "__main__":
    main()
