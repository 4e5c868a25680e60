"""TensorFlow and Keras, started quietly with the threads of params.yaml. Import both from here."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from thaw.config.base import Common, read_value
from thaw.errors import UserError

with contextlib.suppress(UserError):  # a missing or older params.yaml; stage conf checks it
    if threads := read_value(Common, "threads"):
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"


@contextlib.contextmanager
def _stderr_on_failure() -> Iterator[None]:
    """Show standard error only if the block raises.

    TensorFlow's C++ code writes a dozen lines at import that no setting silences.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(original, captured.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


@contextlib.contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Make modules look as if they were not installed.

    Keras imports optional modules that Thaw does not use through it, which takes a quarter of its
    start-up time.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _stderr_on_failure(), _hidden("matplotlib", "sklearn"):
    import tensorflow as tf

    tf.config.list_physical_devices()
    tf.constant(0)  # the first operation logs too
    import keras

__all__ = ["compute_precision", "keras", "make_deterministic", "tf", "thread_count"]


def thread_count() -> int:
    """Return the number of threads that Keras uses: set by params.yaml, or one for each core."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and Keras, and make every operation give the same bits each time."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def compute_precision(precision: str) -> Iterator[None]:
    """Make layers that are built in the block compute in "float32" or "bfloat16".

    Variables stay float32.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
