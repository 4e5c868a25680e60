"""TensorFlow Lite, now LiteRT: one file for phones and small machines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages.engine import keras, tf
from stages.params.dataset import Image

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
    options = {}
    if calibration is not None:
        # its interpreter knows one picture at a time only while it calibrates

        def pictures() -> Iterator[list[np.ndarray]]:
            return ([pixels[None]] for pixels in calibration)

        options = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": pictures,
            "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
            # else the interpreter that calibrates finds no weights
            "experimental_enable_resource_variables": False,
        }
    else:
        options = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    model.export(folder / FILE, format="litert", verbose=False, **options)
    return "pixels"


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From what it takes, uint8, to probabilities (batch, classes)."""
    from ai_edge_litert.interpreter import Interpreter

    held = Interpreter(str(folder / FILE), num_threads=threads)
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
