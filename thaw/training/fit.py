"""The one way in which networks are trained."""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from dvclive import Live

from thaw.config.training import Training
from thaw.errors import UserError, note_progress
from thaw.runtime.tensorflow import keras, tf
from thaw.storage.files import atomic_write
from thaw.storage.store import recipe_digest, store_root
from thaw.training.batches import Batches
from thaw.training.optimizers import Adam, AdamW
from thaw.training.record import Record

LEAST_SECONDS, LARGEST_SHARE = 1, 0.02
"""A checkpoint follows an epoch, but not within a second, nor where writing them would take more of
the time than this share: then it is quicker to do an epoch again."""
SECONDS_KEPT = 30 * 24 * 3600
"""Of the state of a training that was interrupted."""


OPTIMIZERS = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def compile_model(model: keras.Model, training: Training, steps: int) -> None:
    """Give `model`, which has its loss, an optimizer with its schedule.

    Args:
        steps: batches an epoch, which the schedule needs.
    """
    chosen, every = training.optimizer, steps * training.epochs
    rate = chosen.learning_rate
    if training.schedule == "cosine":
        warm = every // 10
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(every - warm, 1), warmup_target=rate, warmup_steps=warm
        )
    elif training.schedule == "exponential":
        rate = keras.optimizers.schedules.ExponentialDecay(rate, every, 0.01)
    options = chosen.model_dump(exclude={"name", "learning_rate"})
    model.compile(OPTIMIZERS[chosen.name](rate, **options), metrics=["accuracy"])


def fit(
    model: keras.Model,
    trainer: keras.Model,
    train: Batches,
    validation: Batches | None,
    training: Training,
    recipe: dict,
    folder: Path,
    from_trained: bool = False,
) -> Record:
    """Train `model` in place, and leave it with the weights of the epoch that is kept.

    After a kill, training with the same recipe, code and data goes on from the last checkpoint
    to the same weights: optimizer, schedule, order, dropout, patience and the best epoch included.

    Args:
        trainer: shares the model's weights and has its loss, see thaw/training/losses.py. It
            takes the optimizer too, which would else be saved with the model.
        recipe: all that the training depends on; its digest names the checkpoints. Its entry
            `settings` are the parameters, for the record.
        folder: of the model; DVCLive writes its curves to live/ in it.
        from_trained: the start counts as epoch 0, and is kept if no epoch is better.

    Raises:
        UserError: the best epoch is to be kept and there is no validation data, or TensorBoard's
            files are to be written and it is not installed.
    """
    if validation is None and training.keep == "best":
        raise UserError(
            "keep = 'best': expected 'last', since there is no validation data to choose by "
            "(dataset.split.validation = 0)."
        )
    if training.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "tensorboard = True: expected False, since the package tensorboard is not installed. "
            "pip install tensorboard"
        )
    compile_model(trainer, training, len(train))
    trainer.optimizer.build(trainer.trainable_variables)
    checkpoint = _Checkpoint(trainer, recipe)
    keeper = _Keeper(training, checkpoint, train, validation is not None, folder / "live")
    callbacks = [keeper]
    resumed = checkpoint.restore(keeper)
    if training.tensorboard:
        logs = Path("logs") / folder.name.removesuffix(".part")
        # not among the artifacts: its files hold times
        if not resumed:  # or the curves of two trainings would run into each other
            shutil.rmtree(logs, ignore_errors=True)
        callbacks.append(keras.callbacks.TensorBoard(logs, histogram_freq=1, write_graph=False))
    held_out = validation.dataset() if validation else None
    if from_trained and not resumed and held_out is not None:
        keeper.set_model(trainer)
        keeper.begin(_named(trainer.evaluate(held_out, verbose=0, return_dict=True)))
    keeper.replay()
    if not keeper.finished():
        trainer.fit(
            train.dataset(),
            validation_data=held_out,
            initial_epoch=keeper.epoch,
            epochs=training.epochs,
            shuffle=False,  # Batches does, by seed and epoch
            callbacks=callbacks,
            verbose=1 if sys.stderr.isatty() else 2,
        )
    keeper.live.end()
    if training.keep == "best":
        trainer.set_weights(keeper.best_weights)
    checkpoint.remove()
    kept = keeper.best_epoch if training.keep == "best" else keeper.epoch
    return Record(
        kept=kept,
        epochs=keeper.epoch,
        settings=recipe["settings"],
        parameters=model.count_params(),
        trained=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        history=keeper.history,
        start=keeper.start,
    )


class _Keeper(keras.callbacks.Callback):
    """Follows the validation data: history, best weights, patience; one object, so that one
    checkpoint holds all of it (keras-team/keras#17012 is what happens otherwise)."""

    def __init__(self, training: Training, checkpoint, train: Batches, validated, curves: Path):
        super().__init__()
        self.training, self.checkpoint = training, checkpoint
        self.train, self.validated = train, validated
        self.epoch, self.best_epoch, self.best = 0, 0, None
        self.best_weights: list[np.ndarray] = []
        self.history: list[dict] = []
        self.start: dict | None = None
        self.live = Live(
            str(curves), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
        )

    def begin(self, metrics: dict) -> None:
        """Take the trained start as the epoch to beat."""
        self.start = metrics
        self.best, self.best_weights = metrics[self.training.monitor], self.model.get_weights()

    def replay(self) -> None:
        """Write again the curves of the epochs before an interruption."""
        for row in self.history:
            self._log(row)

    def finished(self) -> bool:
        """Whether there is no epoch left to run."""
        patience = self.training.patience
        tired = patience is not None and self.validated and self.epoch - self.best_epoch >= patience
        return tired or self.epoch >= self.training.epochs

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.train.start(epoch + 1)

    def on_epoch_end(self, epoch, logs=None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items()}
        if not all(np.isfinite(value) for value in row.values()):
            raise UserError(
                f"the loss is not finite after epoch {epoch + 1}. Lower learning_rate "
                f"(now {self.training.optimizer.learning_rate:g})."
            )
        self.epoch = epoch + 1
        self.history.append(row)
        if self.validated and self._better(row[f"val_{self.training.monitor}"]):
            self.best, self.best_epoch = row[f"val_{self.training.monitor}"], self.epoch
            if self.training.keep == "best":
                self.best_weights = self.model.get_weights()
        self._log(row)
        if self.finished():
            self.model.stop_training = True
        else:
            self.checkpoint.save(self)

    def _better(self, value: float) -> bool:
        if self.best is None:
            return True
        return value > self.best if self.training.monitor == "accuracy" else value < self.best

    def _log(self, row: dict) -> None:
        for name, value in sorted(row.items()):
            split, metric = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
            self.live.log_metric(f"{split}/{metric}", value, plot=True)
        self.live.next_step()


class _Checkpoint:
    """A training's whole state after an epoch, in the store under the digest of its recipe."""

    FOLLOWED = ("epoch", "best_epoch", "best", "history", "start")

    def __init__(self, model: keras.Model, recipe: dict):
        self.model, self.due = model, time.monotonic() + LEAST_SECONDS
        made_by = {name: version(name) for name in ("keras", "numpy")} | {"code": _code()}
        made_by["threads"] = os.environ.get("TF_NUM_INTRAOP_THREADS", os.cpu_count())
        self.folder = (
            store_root() / "training" / recipe_digest({**recipe, **made_by, "tf": tf.__version__})
        )

    def _variables(self) -> list:
        return [*self.model.variables, *self.model.optimizer.variables]

    def save(self, keeper: _Keeper) -> None:
        if (started := time.monotonic()) < self.due:
            return
        followed = {name: getattr(keeper, name) for name in self.FOLLOWED}
        arrays = {f"variable {n}": np.asarray(v) for n, v in enumerate(self._variables())}
        arrays |= {f"best {n}": values for n, values in enumerate(keeper.best_weights)}
        with atomic_write(self.folder / "state.npz", shared=True) as part, open(part, "wb") as file:
            np.savez(file, followed=json.dumps(followed), **arrays)
        took = time.monotonic() - started
        self.due = started + took + max(LEAST_SECONDS, took / LARGEST_SHARE)
        note_progress(f"{keeper.epoch} of {keeper.training.epochs} epochs")

    def restore(self, keeper: _Keeper) -> bool:
        """Bring model and keeper to the state that was saved; whether there was one."""
        path = self.folder / "state.npz"
        if not path.exists():
            return False
        try:
            with np.load(path) as file:  # its parts have checksums
                state = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as reason:
            print(f"{path} was cut or altered ({reason}): training starts anew", flush=True)
            return False
        for name, value in json.loads(str(state.pop("followed"))).items():
            setattr(keeper, name, value)
        for number, variable in enumerate(self._variables()):
            variable.assign(state.pop(f"variable {number}"))
        keeper.best_weights = list(state.values())  # in their order
        print(
            f"going on after epoch {keeper.epoch}, where the last run was interrupted", flush=True
        )
        note_progress(f"{keeper.epoch} of {keeper.training.epochs} epochs")
        return True

    def remove(self) -> None:
        """Leave nothing, nor what older trainings left that nobody went on with."""
        (self.folder / "state.npz").unlink(missing_ok=True)
        for left in self.folder.parent.glob("*/*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > SECONDS_KEPT:
                    left.unlink()
                    left.parent.rmdir()
        with contextlib.suppress(OSError):  # another process writes its own there, or none did
            self.folder.rmdir()


def _code() -> str:
    """A digest of every file of ours that is loaded: other code never goes on from old states."""
    files = {
        module.__file__
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("thaw", "stages") and getattr(module, "__file__", None)
    }
    seen = hashlib.sha256()
    for file in sorted(files):
        seen.update(Path(file).read_bytes())
    return seen.hexdigest()


def _named(metrics: dict) -> dict:
    return {name: float(value) for name, value in metrics.items()}
