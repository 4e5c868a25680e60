"""OpenVINO: Intel's runtime, for processors with AVX-512 or AMX and Intel's graphics."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.config.dataset import Image
from thaw.runtime.tensorflow import keras, tf

FILE = "model.xml"
"""And model.bin beside it, the weights."""
CPU = {"INFERENCE_PRECISION_HINT": "f32"}
"""Else it takes bfloat16 where the processor has it."""

FILTERS = {"bilinear": "RESIZE_BILINEAR_PILLOW", "bicubic": "RESIZE_BICUBIC_PILLOW"}
"""Pillow's that it has. Its division is not exact, by which `nearest` may take the next pixel."""


@contextlib.contextmanager
def _untold():
    """Both packages ask for this one when they are imported, and send word of what they are used
    for if it is there."""
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def _openvino():
    with _untold():
        import openvino
    return openvino


def _nncf():
    with _untold():
        import nncf
    return nncf


def write(
    model: keras.Model, image: Image, folder: Path, calibration: np.ndarray | None = None
) -> str:
    """Write FILE into `folder` and give what it takes: pictures (batch, height, width, 3) of any
    size, or, for other filters than FILTERS, pixels (batch, size, size, channels).

    Args:
        calibration: pixels; products and convolutions are then of int8, with scales from these.
    """
    ov = _openvino()
    inputs = [tf.TensorSpec((None, *model.input_shape[1:]), "uint8", name="pixels")]
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=inputs)
    made = ov.convert_model(function.get_concrete_function(), extension=[_flips()])
    made.outputs[0].get_tensor().set_names({"probabilities"})
    if calibration is not None:
        nncf = _nncf()
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        made = nncf.quantize(
            made,
            nncf.Dataset([pixels[None] for pixels in calibration]),
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=_end(made)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    takes = "pixels"
    if image.resampling in FILTERS:
        takes = "pictures"
        made = _resizing(ov, made, image)
    made.inputs[0].get_tensor().set_names({takes})
    ov.save_model(made, folder / FILE, compress_to_fp16=False)
    return takes


def _flips():
    """Its converter knows flips of one axis; a fine-tuned network averages those of two as well."""
    from openvino import opset14 as ops
    from openvino.frontend.tensorflow import ConversionExtension

    def flip(node):
        axes = node.get_input(1)
        count = axes.get_shape()[0]
        last, before_first = np.full(count, -1), np.full(count, np.iinfo("int64").min)
        return ops.slice(node.get_input(0), last, before_first, last, axes).outputs()

    return ConversionExtension("ReverseV2", flip)


def _end(made) -> list[str]:
    """The output layer, what comes before it up to the layer below, and all after it: 1 - p for the
    second class, the sum that probabilities are divided by. They cost no time and are what int8
    harms most (with those after it, half of a VGG16's answers turned around)."""
    products = ("MatMul", "Convolution", "GroupConvolution")
    waiting, found = [(made.get_results()[0], 0)], set()
    while waiting:
        node, passed = waiting.pop()
        for given in node.inputs():
            before = given.get_source_output().get_node()
            kind = before.get_type_name()
            below = passed + (kind in products)
            if below < 2 and kind not in ("Constant", "Parameter"):
                found.add(before.get_friendly_name())
                waiting.append((before, below))
    return sorted(found)


def _resizing(ov, made, image: Image):
    """`made` behind thaw.data.decoding's `resized`: calculated in float32 and rounded once."""
    from openvino import opset14 as ops
    from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

    steps = PrePostProcessor(made)
    picture = steps.input()
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.tensor().set_shape(ov.PartialShape([-1, -1, -1, 3]))
    picture.model().set_layout(ov.Layout("NHWC"))
    before = picture.preprocess()
    before.convert_element_type(ov.Type.f32)
    if image.colour == "grey":  # exactly as Pillow: sums of whole numbers below 2^24

        def grey(colours):
            weighted = ops.multiply(colours, np.array([19595, 38470, 7471], "float32"))
            total = ops.reduce_sum(weighted, np.array([3]), keep_dims=True)
            share = ops.divide(ops.add(total, np.float32(32768)), np.float32(65536))
            return ops.floor(share).output(0)

        before.custom(grey)
    before.resize(getattr(ResizeAlgorithm, FILTERS[image.resampling]), image.size, image.size)
    before.custom(
        lambda smooth: ops.convert(
            ops.clamp(ops.round(smooth, "half_to_even"), 0, 255), "u8"
        ).output(0)
    )
    return steps.build()


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From what it takes, uint8, to probabilities (batch, classes)."""
    settings = {**CPU, "INFERENCE_NUM_THREADS": threads}
    compiled = _openvino().compile_model(folder / FILE, "CPU", settings)
    return lambda given: compiled(given)[0]
