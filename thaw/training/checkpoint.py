"""Save the state of a training after an epoch, and resume from it after an interruption."""

import contextlib
import json
import os
import time
import zipfile
import zlib
from importlib.metadata import version
from typing import Any

import numpy as np

from thaw.errors import note_progress
from thaw.runtime.tensorflow import keras, tf
from thaw.storage.files import atomic_write
from thaw.storage.store import code_digest, recipe_digest, store_root

MIN_INTERVAL_SECONDS = 1  # between checkpoints: repeating a second of training costs little
MAX_TIME_SHARE = 0.02  # of the training's time that writing checkpoints may take
STALE_SECONDS = 30 * 24 * 3600  # 30 days, after which an abandoned checkpoint is deleted


class Checkpoint:
    """The full state of a training, in the store under the digest of its recipe.

    Args:
        trainer: the compiled model, with an optimizer whose variables exist.
        recipe: everything that the result depends on, except code and versions, which are added.
        epochs: how many epochs are planned, for messages.
    """

    def __init__(self, trainer: keras.Model, recipe: dict[str, Any], epochs: int) -> None:
        self.trainer, self.epochs = trainer, epochs
        self.next_save = time.monotonic() + MIN_INTERVAL_SECONDS
        environment = {name: version(name) for name in ("keras", "numpy")}
        environment |= {"code": code_digest(), "tf": tf.__version__}
        threads = os.environ.get("TF_NUM_INTRAOP_THREADS", os.cpu_count())
        digest = recipe_digest({**recipe, **environment, "threads": threads})
        self.path = store_root() / "training" / digest / "state.npz"

    def _variables(self) -> list[Any]:
        return [*self.trainer.variables, *self.trainer.optimizer.variables]

    def save(self, progress: dict[str, Any], best_weights: list[np.ndarray]) -> None:
        """Save the state after an epoch, unless the last checkpoint is too recent.

        Args:
            progress: what the monitor knows, as JSON values; `epoch` is the last finished epoch.
            best_weights: of the best epoch; empty if they are not needed.
        """
        if (started := time.monotonic()) < self.next_save:
            return
        arrays: dict[str, Any] = {
            f"variable {n}": np.asarray(v) for n, v in enumerate(self._variables())
        }
        arrays |= {f"best {n}": weights for n, weights in enumerate(best_weights)}
        with atomic_write(self.path, shared=True) as part, open(part, "wb") as file:
            np.savez(file, progress=json.dumps(progress), **arrays)
        duration = time.monotonic() - started
        interval = max(MIN_INTERVAL_SECONDS, duration / MAX_TIME_SHARE)
        self.next_save = started + duration + interval
        self._note(progress)

    def restore(self) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """Restore the trainer's and optimizer's variables from the checkpoint.

        Returns:
            The arguments of the last `save`, or None if there is no usable checkpoint.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path) as file:  # checks the checksum of each array
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            print(f"{self.path} is damaged ({error}): training starts from epoch 1", flush=True)
            return None
        progress = json.loads(str(arrays.pop("progress")))
        for number, variable in enumerate(self._variables()):
            variable.assign(arrays.pop(f"variable {number}"))
        print(f"resuming the interrupted training after epoch {progress['epoch']}", flush=True)
        self._note(progress)
        return progress, list(arrays.values())  # what is left are the best weights, in order

    def _note(self, progress: dict[str, Any]) -> None:
        note_progress(f"{progress['epoch']} of {self.epochs} epochs")

    def remove(self) -> None:
        """Delete this checkpoint, and stale ones of trainings that were never resumed."""
        self.path.unlink(missing_ok=True)
        for file in self.path.parents[1].glob("*/*"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > STALE_SECONDS:
                    file.unlink()
                    file.parent.rmdir()
        with contextlib.suppress(OSError):  # absent, or another process writes its checkpoint there
            self.path.parent.rmdir()
