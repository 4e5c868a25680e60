"""What a training reads: batches in an order that depends on the seed and the epoch alone."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from thaw.data.split_table import sample_weights
from thaw.runtime.tensorflow import tf

READ_AHEAD = 2
"""Batches that are gathered while the network trains."""


class Batches:
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
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.labels = labels.astype("float32")[:, None] if sigmoid else labels.astype("int32")
        self.weights = np.ones(len(labels), "float32") if weights is None else weights
        self.start(1)

    def start(self, epoch: int) -> None:
        """Begin with this epoch, counted from 1."""
        self.epoch = epoch
        order = np.arange(len(self.labels))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        self.order = order

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, number: int):
        some = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        random = np.random.default_rng([self.seed or 0, self.epoch, number])
        return self.rows(some, random), self.labels[some], self.weights[some]

    def dataset(self) -> tf.data.Dataset:
        """Each pass over it is the epoch that was begun last.

        Without autotuning, which Keras leaves on for a PyDataset: at the end of a pass TensorFlow
        2.21 often waits for its thread to wake, which it does after 10 ms, 20, 40, ... 20 s, and an
        epoch of 21 s takes 41.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        first = [np.asarray(part) for part in self[0]]
        made = tf.data.Dataset.from_generator(
            lambda: (self[number] for number in range(len(self))),
            output_signature=tuple(tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in first),
        )
        made = made.apply(tf.data.experimental.assert_cardinality(len(self)))
        return made.prefetch(READ_AHEAD).with_options(options)


def batches(
    rows: pd.DataFrame, inputs: Callable, training, seed: int | None, sigmoid: bool
) -> Batches | None:
    """Batches over some rows of the split; none where there are none.

    Args:
        inputs: as for Batches.
        training: parameters with batch_size and class_weight.
        seed: for training rows: shuffled and weighted. None: in order, each counting as one.
    """
    if rows.empty:
        return None
    weight = None
    if seed is not None:
        weight = sample_weights(rows, training.class_weight)
    labels = rows["class"].to_numpy(np.int64)
    return Batches(inputs, labels, weight, training.batch_size, seed, sigmoid)
