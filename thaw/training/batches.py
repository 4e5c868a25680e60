"""Training batches, in an order that depends only on the seed and the epoch."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from thaw.config.training import Training
from thaw.data.split_table import sample_weights
from thaw.runtime.tensorflow import tf

READ_AHEAD = 2  # batches that are prepared while the network trains

# returns the inputs (n, ...) of n row numbers, given the epoch's random generator
Inputs = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Batches:
    """Batches of (inputs, labels, weights), read when they are needed.

    Args:
        inputs: returns the inputs (n, ...) of n row numbers, given a random generator.
        labels: (N,) int, the class of each row.
        weights: (N,) float32, the weight of each row in the loss; None: all equal.
        batch_size: rows per batch; the last batch may have fewer.
        seed: for a new order in each epoch; None: always in the order of the rows.
        sigmoid: labels are (n, 1) float32 for a sigmoid unit instead of (n,) int32.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: np.ndarray,
        weights: np.ndarray | None,
        batch_size: int,
        seed: int | None,
        sigmoid: bool,
    ) -> None:
        self.inputs, self.batch_size, self.seed = inputs, batch_size, seed
        self.labels = labels.astype("float32")[:, None] if sigmoid else labels.astype("int32")
        self.weights = np.ones(len(labels), "float32") if weights is None else weights
        self.start(1)

    def start(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        self.epoch = epoch
        order = np.arange(len(self.labels))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        self.order = order

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        random = np.random.default_rng([self.seed or 0, self.epoch, number])
        return self.inputs(rows, random), self.labels[rows], self.weights[rows]

    def dataset(self) -> tf.data.Dataset:
        """Return a dataset that yields, in each pass, the batches of the current epoch.

        It replaces keras.utils.PyDataset, for which Keras leaves TensorFlow's autotuning on. At the
        end of a pass TensorFlow 2.21 then often waits for its autotuning thread, which sleeps for
        10 ms, 20 ms, ... up to 20 s, so an epoch of 21 s takes 41 s.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        first = [np.asarray(part) for part in self[0]]
        dataset = tf.data.Dataset.from_generator(
            lambda: (self[number] for number in range(len(self))),
            output_signature=tuple(tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in first),
        )
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self)))
        return dataset.prefetch(READ_AHEAD).with_options(options)


def batches(
    rows: pd.DataFrame, inputs: Inputs, training: Training, seed: int | None, sigmoid: bool
) -> Batches | None:
    """Return batches of some rows of the split, or None if there are no rows.

    Args:
        rows: of the split table.
        inputs: as for Batches.
        training: gives batch_size and class_weight.
        seed: for training data, which is shuffled and weighted. None: in order, all weights 1.
        sigmoid: as for Batches.
    """
    if rows.empty:
        return None
    weights = None
    if seed is not None:
        weights = sample_weights(rows, training.class_weight)
    labels = rows["class"].to_numpy(np.int64)
    return Batches(inputs, labels, weights, training.batch_size, seed, sigmoid)
