"""Training in bfloat16 on processors without it.

There TensorFlow multiplies a convolution's gradients number by number, ten times and more slower
than in float32 (`python -m benchmarks.slopes`); what it predicts is not slower.
"""

from pathlib import Path

from stages.engine import keras, tf

CPUINFO = Path("/proc/cpuinfo")


def trainable(network: keras.Model) -> None:
    """Have `network`, whose arithmetic may be bfloat16, train at the speed of float32 at least.

    Its layers stay as they are where they are saved."""
    if quick_in_bfloat16():
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.compute_dtype == "bfloat16":
            _slopes_in_float32(layer)


def quick_in_bfloat16() -> bool:
    """Whether convolutions of bfloat16 are trained by oneDNN or on a GPU. Elsewhere, and where the
    processor does not tell, it is TensorFlow's general code.

    Source: IsBF16SupportedByOneDNNOnThisCPU in TensorFlow's mkl_util.h.
    """
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        told = CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512f" in told or "avx_ne_convert" in told


def _slopes_in_float32(layer) -> None:
    """Have a convolution's gradients summed in float32, from the same bfloat16 numbers and rounded
    to bfloat16 at the end, as oneDNN does where it can. What it computes forward is untouched."""
    plain = layer.convolution_op

    def convolution(inputs, kernel):
        @tf.custom_gradient
        def convolved(inputs, kernel):
            def slopes(above):
                wide = tf.cast(inputs, "float32"), tf.cast(kernel, "float32")
                with tf.GradientTape() as tape:
                    tape.watch(wide)
                    outputs = plain(*wide)  # in a graph, nothing computes it
                below = tape.gradient(outputs, wide, tf.cast(above, "float32"))
                return [tf.cast(slope, layer.compute_dtype) for slope in below]

            return plain(inputs, kernel), slopes

        return convolved(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))

    layer.convolution_op = convolution
