"""Class probabilities of a stored network."""

from pathlib import Path

import numpy as np

from stages.engine import keras
from stages.networks.output import probabilities


def predict(path: Path, inputs: np.ndarray, places: np.ndarray, batch_size: int) -> np.ndarray:
    """Class probabilities (n, classes), float64, of some rows of `inputs`.

    Args:
        path: a .keras file from a training stage.
        inputs: memory-mapped rows, as the model takes them.
        places: (n,) row numbers.
    """
    model = keras.saving.load_model(path, compile=False)
    given = []
    for start in range(0, len(places), batch_size):
        some = inputs[places[start : start + batch_size]]
        given.append(probabilities(model.predict_on_batch(some)))
    return np.concatenate(given)
