"""TensorFlow and Keras, started once, quietly, repeatably and with as many threads as params.yaml
says. Import both from here."""

import contextlib
import os
import sys
import tempfile

from thaw.config.base import Common, read_value
from thaw.errors import UserError

with contextlib.suppress(
    UserError
):  # of a params.yaml that is elsewhere or older; `conf` checks it
    if threads := read_value(Common, "threads"):
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"


@contextlib.contextmanager
def _stderr_held():
    """TensorFlow's C++ writes a dozen lines at import that no setting silences. They are shown
    only when the import fails."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


@contextlib.contextmanager
def _without(*names: str):
    """Keras imports these, where they are installed, for parts of it that are not used here: a
    quarter of the time that it takes to start."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _stderr_held(), _without("matplotlib", "sklearn"):
    import tensorflow as tf

    tf.config.list_physical_devices()
    tf.constant(0)  # the first operation logs too
    import keras

__all__ = ["compute_precision", "keras", "make_deterministic", "tf"]


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and Keras, and have every operation give the same bits each time.

    Source: keras.utils.set_random_seed and tf.config.experimental.enable_op_determinism.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def compute_precision(precision: str):
    """Layers made within compute in `precision`, float32 or bfloat16; variables stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
