"""Class probabilities of a Keras model, batch by batch."""

from typing import Any

import numpy as np

from thaw.models.layers import to_probabilities


def predict_batches(model: Any, inputs: Any, batch_size: int) -> np.ndarray:
    """Return the class probabilities (n, classes), float64.

    Args:
        model: a keras.Model from a training stage.
        inputs: (n, ...) as the model takes them, an array or thaw.storage.arrays.Selection.
        batch_size: inputs a pass.
    """
    given = []
    for start in range(0, len(inputs), batch_size):
        some = inputs[start : start + batch_size]
        given.append(to_probabilities(model.predict_on_batch(some)))
    return np.concatenate(given)
