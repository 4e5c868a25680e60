"""Train bfloat16 convolutions as fast as float32 on processors without bfloat16 arithmetic.

There TensorFlow computes the gradients of a bfloat16 convolution number by number, at least ten
times slower than in float32 (`python -m benchmarks.gradients`). Its predictions are not slower.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from thaw.runtime.tensorflow import keras, tf

CPUINFO = Path("/proc/cpuinfo")


def sum_in_float32(network: keras.Model) -> None:
    """Sum the gradients of bfloat16 convolutions in float32, where that is faster.

    The gradients are computed from the same bfloat16 numbers and rounded to bfloat16 at the end.
    Predictions and saved files do not change.
    """
    if quick_in_bfloat16():
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.compute_dtype == "bfloat16":
            layer.convolution_op = _convolution(layer.convolution_op)


def quick_in_bfloat16() -> bool:
    """Return whether a GPU or oneDNN trains bfloat16 convolutions.

    Otherwise, or where the processor's features cannot be read, TensorFlow's general code does.

    Source: IsDataTypeSupportedByOneDNNOnThisCPU in tensorflow/core/util/util.cc.
    """
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        words = CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512f" in words or "avx_ne_convert" in words


def _convolution(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a layer's convolution of (inputs, kernel) with gradients summed in float32."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(inputs: Any, kernel: Any) -> tuple[Any, Callable[[Any], list[Any]]]:
        def gradients(upstream: Any) -> list[Any]:
            wide = tf.cast(inputs, "float32"), tf.cast(kernel, "float32")
            with tf.GradientTape() as tape:
                tape.watch(wide)
                outputs = original(*wide)  # a graph never computes it: only gradients are read
            summed = tape.gradient(outputs, wide, tf.cast(upstream, "float32"))
            return [tf.cast(gradient, upstream.dtype) for gradient in summed]

        return original(inputs, kernel), gradients

    return lambda inputs, kernel: convolve(*map(tf.convert_to_tensor, (inputs, kernel)))
