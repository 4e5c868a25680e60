"""TensorFlow's SavedModel, which TensorFlow and TF Serving run as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.config.dataset import Image
from thaw.export.float32 import of_pictures
from thaw.runtime.tensorflow import keras, tf

FILE = "saved_model"


def write(
    model: keras.Model, image: Image, folder: Path, calibration: np.ndarray | None = None
) -> str:
    """Write FILE into `folder` and give what it takes: pictures (batch, height, width, 3) of any
    size. The resizing is TensorFlow's own, which does all of the pipeline's filters."""
    whole = of_pictures(model, image)
    held = tf.Module()  # Keras's own export keeps every weight twice
    held.weights = [variable.value for variable in whole.variables]
    inputs = [tf.TensorSpec((None, None, None, 3), "uint8", name="pictures")]
    held.serve = tf.function(
        lambda pictures: whole(pictures, training=False), input_signature=inputs
    )
    named = tf.function(
        lambda pictures: {"probabilities": held.serve(pictures)}, input_signature=inputs
    )
    tf.saved_model.save(held, folder / FILE, signatures=named)
    return "pictures"


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From what it takes, uint8, to probabilities (batch, classes). TensorFlow has its threads
    already."""
    held = tf.saved_model.load(folder / FILE)
    return lambda given: held.serve(given).numpy()
