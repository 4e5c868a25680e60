"""Train a Keras model: the one training loop of subnets, networks and fine-tunings."""

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from dvclive.live import Live

from thaw.config.training import Training
from thaw.errors import UserError
from thaw.runtime.tensorflow import keras
from thaw.training.batches import Batches
from thaw.training.checkpoint import Checkpoint
from thaw.training.optimizers import Adam, AdamW
from thaw.training.record import Record

OPTIMIZERS = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def compile_model(model: keras.Model, training: Training, steps: int) -> None:
    """Compile `model`, which has its own loss, with the optimizer and learning-rate schedule.

    Args:
        model: from LossTerms.trainer.
        training: its parameters.
        steps: batches per epoch; the schedule depends on it.
    """
    optimizer, total_steps = training.optimizer, steps * training.epochs
    rate: Any = optimizer.learning_rate
    if training.schedule == "cosine":
        warmup_steps = total_steps // 10
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(total_steps - warmup_steps, 1), warmup_target=rate, warmup_steps=warmup_steps
        )
    elif training.schedule == "exponential":
        rate = keras.optimizers.schedules.ExponentialDecay(rate, total_steps, 0.01)
    options = optimizer.model_dump(exclude={"name", "learning_rate"})
    model.compile(OPTIMIZERS[optimizer.name](rate, **options), metrics=["accuracy"])


def fit(
    model: keras.Model,
    trainer: keras.Model,
    train: Batches,
    validation: Batches | None,
    training: Training,
    recipe: dict[str, Any],
    folder: Path,
    from_trained: bool = False,
) -> Record:
    """Train `model` in place and leave it with the weights of the epoch that is kept.

    An interrupted training resumes from its last checkpoint if recipe, code and data are the same,
    and reaches the same weights: the checkpoint has the optimizer, schedule, order, dropout,
    patience and best epoch.

    Args:
        model: the model to train.
        trainer: a model that shares its weights and has the loss, from LossTerms.trainer. The
            optimizer belongs to it, so it is not saved with `model`.
        train: training batches.
        validation: validation batches, or None.
        training: the parameters.
        recipe: everything that the training depends on; its digest names the checkpoint. Its entry
            `settings` goes into the record.
        folder: the model's folder; DVCLive writes learning curves to its live/.
        from_trained: count the start as epoch 0, which is kept if no epoch is better.

    Returns:
        The record of the training.

    Raises:
        UserError: `keep` is "best" without validation data, TensorBoard is on but not installed,
            or the loss is not finite.
    """
    if validation is None and training.keep == "best":
        raise UserError(
            "keep = 'best': expected 'last', since there is no validation data to choose by "
            "(dataset.split.validation = 0)."
        )
    if training.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "tensorboard = True: expected False, since the package tensorboard is not installed. "
            "Install it: pip install tensorboard"
        )
    compile_model(trainer, training, len(train))
    trainer.optimizer.build(trainer.trainable_variables)
    checkpoint = Checkpoint(trainer, recipe, training.epochs)
    monitor = TrainingMonitor(training, checkpoint, train, validation is not None, folder / "live")
    callbacks = [monitor]
    resumed = checkpoint.restore()
    if resumed:
        monitor.resume(*resumed)
    if training.tensorboard:
        logs = Path("logs") / folder.name.removesuffix(".part")
        # no stage output, since its files contain times
        if not resumed:  # the curves of two trainings must not mix
            shutil.rmtree(logs, ignore_errors=True)
        callbacks.append(keras.callbacks.TensorBoard(logs, histogram_freq=1, write_graph=False))
    validation_data = validation.dataset() if validation else None
    if from_trained and not resumed and validation_data is not None:
        monitor.set_model(trainer)
        metrics = trainer.evaluate(validation_data, verbose=0, return_dict=True)
        monitor.count_start({name: float(value) for name, value in metrics.items()})
    if not monitor.finished():
        trainer.fit(
            train.dataset(),
            validation_data=validation_data,
            initial_epoch=monitor.epoch,
            epochs=training.epochs,
            shuffle=False,  # Batches shuffles by seed and epoch
            callbacks=callbacks,
            verbose=1 if sys.stderr.isatty() else 2,
        )
    monitor.live.end()
    if training.keep == "best":
        trainer.set_weights(monitor.best_weights)
    checkpoint.remove()
    return Record(
        kept=monitor.best_epoch if training.keep == "best" else monitor.epoch,
        epochs=monitor.epoch,
        settings=recipe["settings"],
        parameters=model.count_params(),
        trained=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        history=monitor.history,
        start=monitor.start,
    )


class TrainingMonitor(keras.callbacks.Callback):  # type: ignore[misc]
    """Record metrics, keep the best weights, stop when patience ends, and save checkpoints.

    One callback does all of it, so that one checkpoint restores all of it. Separate Keras
    callbacks lose their state when a training resumes (keras-team/keras#17012).

    Args:
        training: the parameters.
        checkpoint: saves the state after each epoch.
        train: the training batches, which start a new order in each epoch.
        validated: whether there is validation data.
        curves: folder for DVCLive's learning curves.
    """

    PROGRESS = ("epoch", "best_epoch", "best", "history", "start")  # attributes in a checkpoint

    def __init__(
        self,
        training: Training,
        checkpoint: Checkpoint,
        train: Batches,
        validated: bool,
        curves: Path,
    ) -> None:
        super().__init__()
        self.training, self.checkpoint = training, checkpoint
        self.train, self.validated = train, validated
        self.epoch, self.best_epoch = 0, 0
        self.best: list[float] | None = None
        self.best_weights: list[np.ndarray] = []
        self.history: list[dict[str, float]] = []
        self.start: dict[str, float] | None = None
        self.live: Any = Live(
            str(curves), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )

    def resume(self, progress: dict[str, Any], best_weights: list[np.ndarray]) -> None:
        """Continue from a checkpoint, and write the learning curves of its epochs again."""
        self.__dict__.update(progress, best_weights=best_weights)
        for row in self.history:
            self._log(row)

    def count_start(self, metrics: dict[str, float]) -> None:
        """Make the trained start, with these validation metrics, the best epoch so far."""
        self.start = metrics
        self.best, self.best_weights = self._rank(metrics), self.model.get_weights()

    def finished(self) -> bool:
        """Return whether all epochs have run or patience has ended."""
        patience, waited = self.training.patience, self.epoch - self.best_epoch
        out_of_patience = patience is not None and self.validated and waited >= patience
        return out_of_patience or self.epoch >= self.training.epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Shuffle the training batches for this epoch."""
        self.train.start(epoch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch, and stop the training or save a checkpoint."""
        row = {name: float(value) for name, value in (logs or {}).items()}
        if not all(np.isfinite(value) for value in row.values()):
            raise UserError(
                f"the loss is not finite after epoch {epoch + 1}. Lower optimizer.learning_rate "
                f"(now {self.training.optimizer.learning_rate:g})."
            )
        self.epoch = epoch + 1
        self.history.append(row)
        rank = self._rank(row, "val_") if self.validated else []
        if self.validated and (self.best is None or rank > self.best):
            self.best, self.best_epoch = rank, self.epoch
            if self.training.keep == "best":
                self.best_weights = self.model.get_weights()
        self._log(row)
        if self.finished():
            self.model.stop_training = True
        else:
            progress = {name: getattr(self, name) for name in self.PROGRESS}
            self.checkpoint.save(progress, self.best_weights)

    def _rank(self, metrics: dict[str, float], prefix: str = "") -> list[float]:
        """Return numbers that are greater, in lexical order, for the better of two epochs."""
        accuracy, loss = metrics[f"{prefix}accuracy"], metrics[f"{prefix}loss"]
        return [accuracy, -loss] if self.training.monitor == "accuracy" else [-loss]

    def _log(self, row: dict[str, float]) -> None:
        for name, value in sorted(row.items()):
            split, metric = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
            self.live.log_metric(f"{split}/{metric}", value, plot=True)
        self.live.next_step()
