"""OpenVINO, an engine that runs Keras networks on processors."""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from thaw.errors import UserError

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}  # OpenVINO's names
REQUESTS_PER_THREAD = 2  # one runs, one waits


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Hide openvino_telemetry from imports, so that openvino and nncf send no usage data."""
    name = "openvino_telemetry"
    module = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # its import fails
    try:
        yield
    finally:
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module


def import_openvino() -> Any:
    """Return the module `openvino`.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        with without_telemetry():
            import openvino
    except ImportError as error:
        raise UserError(
            f"engine = 'openvino': the package openvino cannot be imported ({error}). Install the "
            f"locked packages (make setup), or choose engine=tensorflow for the backbone."
        ) from None
    return openvino


@functools.cache
def computed_precision(precision: str) -> str:
    """Return the precision that OpenVINO computes in on this processor.

    That is float32 if it does not support bfloat16. TensorFlow is not started.

    Args:
        precision: the requested one, float32 or bfloat16.

    Raises:
        UserError: openvino cannot be imported.
    """
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision if "BF16" in capabilities else "float32"


def convert(model: Any) -> Any:
    """Return a keras.Model that reads uint8 pixels and computes in float32 as an openvino.Model."""
    from thaw.runtime.tensorflow import tf

    ov = import_openvino()
    inputs = [tf.TensorSpec((None, *model.input_shape[1:]), "uint8", name="pixels")]
    function = tf.function(
        lambda pixels: model(pixels, training=False),
        input_signature=inputs,
        autograph=False,  # autograph would leave a file in /tmp
    )
    return ov.convert_model(function.get_concrete_function(), extension=[_flips()])


def compile_network(model: Any, precision: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a Keras model by OpenVINO.

    Each image is one request, which one thread computes. So an image's output has the same bytes
    whatever the other images and the number of threads.

    Args:
        model: keras.Model that reads uint8 pixels and computes in float32.
        precision: to compute in if the processor supports it, float32 or bfloat16.
        threads: images that are computed at the same time.

    Returns:
        A function from uint8 pixels (n, height, width, channels) to outputs (n, ...), float32.

    Raises:
        UserError: openvino cannot be imported.
    """
    ov = import_openvino()
    converted = convert(model)
    converted.reshape([1, *model.input_shape[1:]])
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,  # processes beside this one would share its first cores
    }
    compiled = ov.compile_model(converted, "CPU", settings)
    requests = ov.AsyncInferQueue(compiled, REQUESTS_PER_THREAD * threads)
    lock = threading.Lock()  # of the queue, which has one callback

    def run(pixels: np.ndarray) -> np.ndarray:
        outputs = np.empty((len(pixels), *model.output_shape[1:]), "float32")

        def keep(request: Any, row: int) -> None:
            outputs[row] = request.get_output_tensor(0).data[0]

        with lock:
            requests.set_callback(keep)
            for row in range(len(pixels)):
                requests.start_async({0: pixels[row : row + 1]}, row)
            requests.wait_all()
        return outputs

    return run


def _flips() -> Any:
    """Return a converter for flips of several axes, as test-time augmentation uses them.

    OpenVINO itself converts only flips of one axis.
    """
    from openvino import opset14 as ops
    from openvino.frontend.tensorflow import ConversionExtension

    def flip(node: Any) -> Any:
        axes = node.get_input(1)
        count = axes.get_shape()[0]
        last, before_first = np.full(count, -1), np.full(count, np.iinfo("int64").min)
        return ops.slice(node.get_input(0), last, before_first, last, axes).outputs()

    return ConversionExtension("ReverseV2", flip)
