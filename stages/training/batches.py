"""What a training reads: batches in an order that depends on the seed and the epoch alone."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from stages.engine import keras
from stages.training.rows import weights


class Batches(keras.utils.PyDataset):
    """Batches of (inputs, labels, weights), gathered as they are needed.

    Args:
        rows: gives the inputs (n, ...) for n row numbers and the epoch's random generator.
        labels: (N,) int, the class of each row.
        weights: (N,) float32, how much each row counts; none: equally.
        batch_size: rows a batch; the last may hold fewer.
        seed: for a new order each epoch; none: in order, always.
        sigmoid: labels are (n, 1) float32 for a sigmoid unit instead of (n,) int.
    """

    def __init__(
        self,
        rows: Callable[[np.ndarray, np.random.Generator], np.ndarray],
        labels: np.ndarray,
        weights: np.ndarray | None,
        batch_size: int,
        seed: int | None,
        sigmoid: bool,
    ):
        super().__init__()
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.labels = labels.astype("float32")[:, None] if sigmoid else labels.astype("int32")
        self.weights = np.ones(len(labels), "float32") if weights is None else weights
        self.start(0)

    def start(self, epoch: int) -> None:
        """Begin with this epoch, counted from 0."""
        self.epoch = epoch
        order = np.arange(len(self.labels))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        self.order = order

    def on_epoch_end(self) -> None:
        self.start(self.epoch + 1)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, number: int):
        some = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        random = np.random.default_rng([self.seed or 0, self.epoch, number])
        return self.rows(some, random), self.labels[some], self.weights[some]


def batches(
    rows: pd.DataFrame, inputs: Callable, training, seed: int | None, sigmoid: bool
) -> Batches | None:
    """Batches over some rows of the split; none where there are none.

    Args:
        inputs: as for Batches.
        training: parameters with batch_size, class_weight and confidence_weight.
        seed: for training rows: shuffled and weighted. None: in order, each counting as one.
    """
    if rows.empty:
        return None
    weight = None
    if seed is not None:
        weight = weights(rows, training.class_weight, training.confidence_weight)
    labels = rows["class"].to_numpy(np.int64)
    return Batches(inputs, labels, weight, training.batch_size, seed, sigmoid)
