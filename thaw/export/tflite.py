"""TensorFlow Lite, now LiteRT: one file for phones and small machines."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.config.dataset import Image
from thaw.runtime.tensorflow import keras, tf

FILE = "model.tflite"


def write(
    model: keras.Model, image: Image, folder: Path, calibration: np.ndarray | None = None
) -> str:
    """Write FILE into `folder` and give what it takes: pixels (batch, size, size, channels). The
    format has no resizing that smooths, so the picture comes in its size; the backbone's
    preprocessing is inside.

    Args:
        calibration: pixels; all sums are then of int8, with scales from these.
    """
    kinds, options = tf.lite.OpsSet.TFLITE_BUILTINS, {}
    if calibration is not None:
        kinds = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        options = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([pixels[None]] for pixels in calibration),
            # else the interpreter that calibrates finds no weights
            "experimental_enable_resource_variables": False,
        }
    options["target_spec"] = {"supported_ops": [kinds]}
    model.export(folder / FILE, format="litert", verbose=False, **options)
    return "pixels"


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From what it takes, uint8, to probabilities (batch, classes)."""
    from ai_edge_litert.interpreter import Interpreter

    held = Interpreter(str(folder / FILE), num_threads=threads)
    held.allocate_tensors()  # says that it is here
    into, out = held.get_input_details()[0]["index"], held.get_output_details()[0]["index"]
    shape: tuple = ()

    def run(given: np.ndarray) -> np.ndarray:
        nonlocal shape
        if given.shape != shape:
            held.resize_tensor_input(into, given.shape)
            held.allocate_tensors()
            shape = given.shape
        held.set_tensor(into, given)
        held.invoke()
        return held.get_tensor(out)

    return run
