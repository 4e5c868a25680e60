"""Export to OpenVINO, Intel's runtime for processors with AVX-512 or AMX and Intel's GPUs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.dataset import Image
from thaw.export.job import Job
from thaw.runtime.openvino import convert, import_openvino, without_telemetry

FILE = "model.xml"  # its weights are in model.bin
# by default OpenVINO computes in bfloat16 if the processor supports it
CPU = {"INFERENCE_PRECISION_HINT": "f32"}
# Pillow's filters that OpenVINO has. `nearest` is not one of them: OpenVINO's division is not exact
# and may select the next pixel.
FILTERS = {"bilinear": "RESIZE_BILINEAR_PILLOW", "bicubic": "RESIZE_BICUBIC_PILLOW"}


def _nncf() -> Any:
    with without_telemetry():
        import nncf
    return nncf


def write(job: Job) -> str:
    """Write FILE and its weights, see export.format_module.

    It takes pictures if the filter is in FILTERS, else pixels. With calibration pixels, matrix
    products and convolutions compute in int8. rt_info has the classes as a JSON list.
    """
    ov = import_openvino()
    converted = convert(job.model)
    converted.outputs[0].get_tensor().set_names({"probabilities"})
    if job.calibration is not None:
        nncf = _nncf()
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        converted = nncf.quantize(
            converted,
            nncf.Dataset([pixels[None] for pixels in job.calibration]),
            subset_size=len(job.calibration),
            ignored_scope=nncf.IgnoredScope(names=_last_layers(converted)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    takes = "pixels"
    if job.image.resampling in FILTERS:
        takes = "pictures"
        converted = _resizing(ov, converted, job.image)
    converted.inputs[0].get_tensor().set_names({takes})
    converted.set_rt_info(json.dumps(job.classes, ensure_ascii=False), ["model_info", "classes"])
    # as OpenVINO's Model API reads them
    labels = " ".join("_".join(name.split()) for name in job.classes)
    converted.set_rt_info(labels, ["model_info", "labels"])
    ov.save_model(converted, job.folder / FILE, compress_to_fp16=False)
    return takes


def _last_layers(model: Any) -> list[str]:
    """Return the names of the nodes that stay in float32.

    They are all nodes behind the last layer but one: the output layer and its activation, 1 - p for
    the second class, the sum that probabilities are divided by. They take no time, and int8 harms
    them most: with the activation in int8, a VGG16 swapped the classes of half of the images.
    """
    products = ("MatMul", "Convolution", "GroupConvolution")
    waiting, names = [(model.get_results()[0], 0)], set()
    while waiting:
        node, passed_layers = waiting.pop()
        for node_input in node.inputs():
            source = node_input.get_source_output().get_node()
            kind = source.get_type_name()
            layers = passed_layers + (kind in products)
            if layers < 2 and kind not in ("Constant", "Parameter"):
                names.add(source.get_friendly_name())
                waiting.append((source, layers))
    return sorted(names)


def _resizing(ov: Any, model: Any, image: Image) -> Any:
    """Return the model behind the resizing of thaw.data.decoding.

    It computes in float32 and rounds once.
    """
    from openvino import opset14 as ops
    from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

    steps = PrePostProcessor(model)
    picture = steps.input()
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.tensor().set_shape(ov.PartialShape([-1, -1, -1, 3]))
    picture.model().set_layout(ov.Layout("NHWC"))
    resizing = picture.preprocess()
    resizing.convert_element_type(ov.Type.f32)
    if image.colour == "grey":  # equals Pillow's: the sums are integers below 2^24

        def grey(colours: Any) -> Any:
            weighted = ops.multiply(colours, np.array([19595, 38470, 7471], "float32"))
            total = ops.reduce_sum(weighted, np.array([3]), keep_dims=True)
            quotient = ops.divide(ops.add(total, np.float32(32768)), np.float32(65536))
            return ops.floor(quotient).output(0)

        resizing.custom(grey)
    if image.fit != "stretch":
        resizing.custom(_fit(image))
    height, width, _ = image.shape
    resizing.resize(getattr(ResizeAlgorithm, FILTERS[image.resampling]), height, width)
    resizing.custom(
        lambda resized: ops.convert(
            ops.clamp(ops.round(resized, "half_to_even"), 0, 255), "u8"
        ).output(0)
    )
    return steps.build()


def _fit(image: Image) -> Callable[[Any], Any]:
    """Return a function that crops or pads pictures (batch, height, width, channels)."""
    from openvino import opset14 as ops

    size, axes = np.array(image.shape[:2]), np.array([1, 2])

    def fit(pictures: Any) -> Any:
        sides = ops.gather(ops.shape_of(pictures), axes, np.int64(0))
        swapped = ops.gather(sides, np.array([1, 0]), np.int64(0))
        scaled = ops.divide(ops.multiply(swapped, size), size[::-1].copy())
        if image.fit == "crop":
            inner = ops.maximum(ops.minimum(sides, scaled), np.array([1]))
            first = ops.divide(ops.subtract(sides, inner), np.int64(2))
            last = ops.add(first, inner)
            return ops.slice(pictures, first, last, np.array([1, 1]), axes).output(0)
        outer = ops.maximum(sides, scaled)
        margin = ops.divide(ops.subtract(outer, sides), np.int64(2))
        margins = ops.concat([np.array([0]), margin, np.array([0])], 0)
        return ops.pad(pictures, margins, margins, "constant", np.float32(0)).output(0)

    return fit


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs the exported model, see export.format_module."""
    settings = {**CPU, "INFERENCE_NUM_THREADS": threads}
    compiled = import_openvino().compile_model(folder / FILE, "CPU", settings)
    return lambda images: compiled(images)[0]
