"""Class probabilities of a stored network."""

from pathlib import Path

import numpy as np

from stages.networks.output import probabilities
from stages.networks.stored import stored


def predict(path: Path, inputs, batch_size: int) -> np.ndarray:
    """Class probabilities (n, classes), float64.

    Args:
        path: a .keras file from a training stage.
        inputs: (n, ...) as the model takes them, an array or stages.images.arrays.Selection.

    Raises:
        Refusal: as stages.networks.stored.
    """
    model = stored(path)
    given = []
    for start in range(0, len(inputs), batch_size):
        some = inputs[start : start + batch_size]
        given.append(probabilities(model.predict_on_batch(some)))
    return np.concatenate(given)
