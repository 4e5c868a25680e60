"""Train a dense head many times, on one fold after the other, with one TensorFlow graph.

A training by `fit` spends most of its time between the steps of so small a network. Here an epoch
is one call, and the graph is built once for all folds of a candidate.
"""

from typing import Any

import numpy as np
import pandas as pd

from thaw.config.subnet import Dense
from thaw.data.split_table import sample_weights
from thaw.models.layers import to_probabilities
from thaw.models.subnet import build_subnet
from thaw.runtime.tensorflow import make_deterministic, tf
from thaw.training.fit import compile_model
from thaw.training.losses import LossTerms


class HeadTrainer:
    """A dense head that each fold trains from the same initial weights.

    Args:
        parameters: of the head.
        inputs: (n, channels) pooled features, or (n, height, width, channels).
        rows: n training rows of the split.
        classes: number of classes.
        seed: for initial weights, order and dropout.
    """

    def __init__(
        self, parameters: Dense, inputs: np.ndarray, rows: pd.DataFrame, classes: int, seed: int
    ) -> None:
        make_deterministic(seed)
        if inputs.ndim == 2:  # a feature map of one position, whose average it is
            inputs = inputs[:, None, None]
        self.parameters, self.rows, self.seed = parameters, rows, seed
        self.model = build_subnet(parameters, inputs.shape[1:], classes)
        terms = LossTerms(parameters)
        self.trainer = terms.trainer(self.model.inputs, terms.outputs(self.model))
        self.inputs = tf.constant(inputs.astype("float32"))
        labels = rows["class"].to_numpy()
        sigmoid = self.model.output_shape[-1] == 1
        self.labels = tf.constant(
            labels.astype("float32")[:, None] if sigmoid else labels.astype("int32")
        )
        self._compiled_steps: int | None = None

    def _compile(self, steps: int) -> None:
        """Compile the graph for epochs of `steps` batches, on which a schedule depends."""
        trainer, batch = self.trainer, self.parameters.batch_size
        compile_model(trainer, self.parameters, steps)
        trainer.optimizer.build(trainer.trainable_variables)
        self._variables = [*trainer.variables, *trainer.optimizer.variables]
        self._initial = [np.asarray(variable) for variable in self._variables]
        self._compiled_steps = steps

        def step(x: Any, y: Any, weights: Any) -> None:
            with tf.GradientTape() as tape:
                predicted = trainer(x, training=True)
                loss = trainer.compute_loss(x, y, predicted, weights, training=True)
            variables = trainer.trainable_variables
            trainer.optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

        step = tf.autograph.experimental.do_not_convert(step)

        def epoch(order: Any, weights: Any) -> None:
            """Train on the rows `order`, with their weights."""
            for start in tf.range(0, tf.size(order), batch):
                rows, w = order[start : start + batch], weights[start : start + batch]
                step(tf.gather(self.inputs, rows), tf.gather(self.labels, rows), w)

        def evaluate(rows: Any) -> Any:
            """Return the loss and the predictions of some rows."""
            x, y = tf.gather(self.inputs, rows), tf.gather(self.labels, rows)
            predicted = trainer(x, training=False)
            loss = trainer.compute_loss(x, y, predicted, None, training=False)
            return loss, predicted[0] if isinstance(predicted, (list, tuple)) else predicted

        numbers = tf.TensorSpec((None,), tf.int64)
        weights = tf.TensorSpec((None,), tf.float32)
        self._epoch = tf.function(epoch, input_signature=[numbers, weights])
        self._evaluate = tf.function(evaluate, input_signature=[numbers], autograph=False)

    def fold(self, train: np.ndarray, stopping: np.ndarray, scored: np.ndarray) -> np.ndarray:
        """Train on a fold as `thaw.training.fit` does, and predict the images that score it.

        Args:
            train: row numbers.
            stopping: those of them that decide the epoch to keep. They are trained on only if
                the parameters keep the last of a fixed number of epochs.
            scored: row numbers to predict.

        Returns:
            Probabilities (scored, classes); NaN if the loss is not finite.
        """
        parameters = self.parameters
        stops = parameters.keep == "best" or parameters.patience is not None
        if stops:
            train = np.setdiff1d(train, stopping)
        steps = -(-len(train) // parameters.batch_size)
        depends = parameters.schedule != "constant" and steps != self._compiled_steps
        if self._compiled_steps is None:
            self._compile(steps)
        elif depends:
            self._restore()
            self._compile(steps)
        self._restore()
        weights = sample_weights(self.rows.iloc[train], parameters.class_weight)
        best, best_epoch, kept = None, 0, None
        for epoch in range(1, parameters.epochs + 1):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(train))
            self._epoch(tf.constant(train[order]), tf.constant(weights[order]))
            if not stops:
                continue
            loss, predicted = self._evaluate(tf.constant(stopping))
            rank = [-float(loss)]  # greater, in lexical order, for the better of two epochs
            if not np.isfinite(rank[0]):
                break
            if parameters.monitor == "accuracy":
                true = self.rows["class"].to_numpy()[stopping]
                rank = [_accuracy(predicted.numpy(), true), *rank]
            if best is None or rank > best:
                best, best_epoch, kept = rank, epoch, self.trainer.get_weights()
            if parameters.patience is not None and epoch - best_epoch >= parameters.patience:
                break
        if parameters.keep == "best" and kept is not None:
            self.trainer.set_weights(kept)
        return to_probabilities(self._evaluate(tf.constant(scored))[1].numpy())

    def _restore(self) -> None:
        """Set every variable to its initial value: weights, optimizer, random generators."""
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)


def _accuracy(predicted: np.ndarray, true: np.ndarray) -> float:
    return float((to_probabilities(predicted).argmax(axis=1) == true).mean())
