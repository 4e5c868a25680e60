"""Export to TensorFlow Lite, now LiteRT: one file for phones and small devices."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from thaw.export.job import Job
from thaw.export.labels import LABELS, labels_text
from thaw.runtime.tensorflow import tf

FILE = "model.tflite"


def write(job: Job) -> str:
    """Write FILE, see export.format_module.

    It takes pixels, since the format has no resizing with antialiasing: the caller has to resize.
    The backbone's preprocessing is part of the exported model. The classes are in labels.txt, an
    associated file: the end of the model is a zip archive that contains it.
    """
    operations = tf.lite.OpsSet.TFLITE_BUILTINS
    options: dict[str, Any] = {}
    if job.calibration is not None:
        operations = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        options = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([pixels[None]] for pixels in job.calibration),
            # otherwise the interpreter that calibrates finds no weights
            "experimental_enable_resource_variables": False,
        }
    options["target_spec"] = {"supported_ops": [operations]}
    job.model.export(job.folder / FILE, format="litert", verbose=False, **options)
    with zipfile.ZipFile(job.folder / FILE, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), labels_text(job.classes))  # dated 1980
    return "pixels"


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs the exported model, see export.format_module."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / FILE), num_threads=threads)
    interpreter.allocate_tensors()  # here, since the first call prints a message
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(images: np.ndarray) -> np.ndarray:
        nonlocal shape
        if images.shape != shape:
            interpreter.resize_tensor_input(input_index, images.shape)
            interpreter.allocate_tensors()
            shape = images.shape
        interpreter.set_tensor(input_index, images)
        interpreter.invoke()
        probabilities: np.ndarray = interpreter.get_tensor(output_index)
        return probabilities

    return run
