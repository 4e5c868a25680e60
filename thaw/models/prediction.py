"""Class probabilities of a Keras model, batch by batch."""

from typing import Any

import numpy as np

from thaw.models.layers import to_probabilities


def predict_batches(model: Any, inputs: Any, batch_size: int) -> np.ndarray:
    """Return the class probabilities (n, classes), float64.

    Args:
        model: keras.Model whose only output is the output layer.
        inputs: (n, ...), an array or thaw.storage.arrays.Selection.
        batch_size: inputs per forward pass.
    """
    batches = []
    for start in range(0, len(inputs), batch_size):
        batch = inputs[start : start + batch_size]
        batches.append(to_probabilities(model.predict_on_batch(batch)))
    return np.concatenate(batches)
