"""Training in bfloat16 on processors without it.

There TensorFlow multiplies a convolution's gradients number by number, ten times and more slower
than in float32 (`python -m benchmarks.gradients`); what it predicts is not slower.
"""

from pathlib import Path

from thaw.runtime.tensorflow import keras, tf

CPUINFO = Path("/proc/cpuinfo")


def sum_in_float32(network: keras.Model) -> None:
    """Have the gradients of the bfloat16 convolutions in `network` summed in float32 where that is
    quicker, from the same bfloat16 numbers and rounded to bfloat16 at the end. Predictions and what
    is saved stay as they are."""
    if quick_in_bfloat16():
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.compute_dtype == "bfloat16":
            layer.convolution_op = _convolution(layer.convolution_op)


def quick_in_bfloat16() -> bool:
    """Whether convolutions of bfloat16 are trained by oneDNN or on a GPU. Elsewhere, and where the
    processor does not tell, it is TensorFlow's general code.

    Source: IsDataTypeSupportedByOneDNNOnThisCPU in tensorflow/core/util/util.cc.
    """
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        told = CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512f" in told or "avx_ne_convert" in told


def _convolution(plain):
    """`plain`, a layer's convolution of (inputs, kernel), with its gradients summed in float32."""

    @tf.custom_gradient
    def convolved(inputs, kernel):
        def gradients(upstream):
            wide = tf.cast(inputs, "float32"), tf.cast(kernel, "float32")
            with tf.GradientTape() as tape:
                tape.watch(wide)
                outputs = plain(*wide)  # in a graph, nothing computes it
            found = tape.gradient(outputs, wide, tf.cast(upstream, "float32"))
            return [tf.cast(gradient, upstream.dtype) for gradient in found]

        return plain(inputs, kernel), gradients

    return lambda inputs, kernel: convolved(*map(tf.convert_to_tensor, (inputs, kernel)))
