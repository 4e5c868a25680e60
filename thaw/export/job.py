"""The arguments of the modules that write one format each."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from thaw.config.dataset import Image
from thaw.runtime.tensorflow import keras


class Job(NamedTuple):
    """A model to export, and where to."""

    model: keras.Model  # from pixels to probabilities, in float32
    image: Image  # how pictures become pixels
    classes: list[str]  # names, in the order of the probabilities
    folder: Path  # an existing folder to write into
    # (n, height, width, channels), uint8: pixels from which the scales of int8 are computed
    calibration: np.ndarray | None = None
