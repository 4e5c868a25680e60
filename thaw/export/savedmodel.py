"""Export to TensorFlow's SavedModel, which TensorFlow and TF Serving run."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.export.float32 import with_resizing
from thaw.export.job import Job
from thaw.export.labels import LABELS, labels_text
from thaw.runtime.tensorflow import tf

FILE = "saved_model"


def write(job: Job) -> str:
    """Write FILE, see export.format_module.

    It takes pictures: TensorFlow resizes with any of the pipeline's filters. The format has no
    calibration. The classes are in the asset labels.txt, whose path is `labels.asset_path` of the
    loaded model.
    """
    resizing_model = with_resizing(job.model, job.image)
    module = tf.Module()  # Keras's own export would store every weight twice
    module.weights = [variable.value for variable in resizing_model.variables]
    inputs = [tf.TensorSpec((None, None, None, 3), "uint8", name="pictures")]
    module.serve = tf.function(
        lambda pictures: resizing_model(pictures, training=False), input_signature=inputs
    )
    signature = tf.function(
        lambda pictures: {"probabilities": module.serve(pictures)}, input_signature=inputs
    )
    with tempfile.TemporaryDirectory() as place:
        labels = Path(place) / LABELS
        labels.write_text(labels_text(job.classes), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, job.folder / FILE, signatures=signature)
    return "pictures"


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs the exported model, see export.format_module.

    `threads` is ignored; TensorFlow's threads are set when it is imported.
    """
    module = tf.saved_model.load(folder / FILE)
    return lambda images: module.serve(images).numpy()
