"""Export to ONNX: one file that many runtimes read. It is checked with ONNX Runtime."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.dataset import Image
from thaw.export.job import Job
from thaw.runtime.tensorflow import keras, tf

FILE = "model.onnx"
OPSET = 18  # the first in which Resize has antialiasing
# Calibration images per batch. The outputs of all layers are kept in memory.
CALIBRATION_BATCH_SIZE = 8
# Pillow's filters as attributes of Resize, which has no lanczos
FILTERS = {
    "nearest": 'mode = "nearest", nearest_mode = "round_prefer_ceil"',
    "bilinear": 'mode = "linear", antialias = 1, exclude_outside = 1',
    "bicubic": 'mode = "cubic", cubic_coeff_a = -0.5, antialias = 1, exclude_outside = 1',
}


def write(job: Job) -> str:
    """Write FILE, see export.format_module.

    It takes pixels if the pipeline resizes with lanczos, else pictures. With calibration pixels,
    matrix products and convolutions compute in int8 (QDQ). Resizing never does. metadata_props has
    the classes as a JSON list.
    """
    import onnx

    graph_model = _convert(job.model)
    if job.calibration is not None:
        graph_model = _quantize(graph_model, job.calibration)
    takes = "pixels"
    if job.image.resampling in FILTERS:
        takes = "pictures"
        resizing = _resizing(job.image)
        resizing.ir_version = graph_model.ir_version
        graph_model = onnx.compose.merge_models(resizing, graph_model, [("resized", "pixels")])
    onnx.helper.set_model_props(
        graph_model, {"classes": json.dumps(job.classes, ensure_ascii=False)}
    )
    graph_model.producer_name, graph_model.producer_version = "thaw", ""
    onnx.checker.check_model(graph_model)
    onnx.save(graph_model, job.folder / FILE)
    return takes


def _convert(model: keras.Model) -> Any:
    """Return an ONNX model from pixels to probabilities."""
    import onnx
    import tf2onnx

    inputs = [tf.TensorSpec((None, *model.input_shape[1:]), "uint8", name="pixels")]
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=inputs)
    converted, _ = tf2onnx.convert.from_function(function, inputs, opset=OPSET)
    graph = converted.graph
    # the converter leaves constants of the preprocessing as inputs of the graph
    for constant, captured in function.get_concrete_function().graph.captures:
        leftover = [each for each in graph.input if each.name == captured.name]
        if not leftover:
            continue
        graph.input.remove(leftover[0])
        if any(captured.name in node.input for node in graph.node):
            value = onnx.numpy_helper.from_array(constant.numpy(), captured.name)
            graph.initializer.append(value)
    output = graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["probabilities" if name == output else name for name in names]
    graph.output[0].name = "probabilities"
    return converted


def _quantize(model: Any, calibration: np.ndarray) -> Any:
    """Return an ONNX model whose products and convolutions compute in int8."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            starts = range(0, len(calibration), CALIBRATION_BATCH_SIZE)
            self._batches = iter([calibration[n : n + CALIBRATION_BATCH_SIZE] for n in starts])

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"pixels": batch}

    with tempfile.TemporaryDirectory() as folder:
        original, prepared, quantized = (f"{folder}/{number}.onnx" for number in range(3))
        onnx.save(model, original)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=_last_layers(onnx.load(prepared)),
        )
        return onnx.load(quantized)


def _last_layers(model: Any) -> list[str]:
    """Return the names of the nodes that stay in float32.

    They are all nodes behind the last layer but one. They take no time, and int8 harms them most.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    waiting, names = [(model.graph.output[0].name, 0)], set()
    while waiting:
        name, passed_layers = waiting.pop()
        node = producers.get(name)
        if node is None:
            continue
        layers = passed_layers + (node.op_type in ("MatMul", "Gemm", "Conv"))
        if layers < 2:
            names.add(node.name)
            waiting += [(input_name, layers) for input_name in node.input]
    return sorted(names)


def _resizing(image: Image) -> Any:
    """Return an ONNX model that resizes pictures to pixels as thaw.data.decoding does.

    It computes in float32 and rounds once. Grey equals Pillow's, since the sums are integers below
    2^24.
    """
    import onnx

    height, width, channels = image.shape
    grey = image.colour == "grey"
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {OPSET}]>
        resizing (uint8[batch, height, width, 3] pictures)
            => (uint8[batch, {height}, {width}, {channels}] resized)
        {{
            exact = Cast <to = 1> (pictures)
            colours = Transpose <perm = [0, 3, 1, 2]> (exact)
            {GREY if grey else "channels = Identity (colours)"}
            {FITS[image.fit]}
            kept = Shape <start = 0, end = 2> (fitted)
            sizes = Concat <axis = 0> (kept, size)
            smooth = Resize <coordinate_transformation_mode = "half_pixel",
                {FILTERS[image.resampling]}> (fitted, , , sizes)
            whole = Round (smooth)
            least = Constant <value_float = 0.0> ()
            most = Constant <value_float = 255.0> ()
            clipped = Clip (whole, least, most)
            bytes = Cast <to = 2> (clipped)
            resized = Transpose <perm = [0, 2, 3, 1]> (bytes)
        }}""")
    size = np.array([height, width], "int64")
    model.graph.initializer.append(onnx.numpy_helper.from_array(size, "size"))
    return model


GREY = """
            weights = Constant <value = float[1, 3, 1, 1] {19595.0, 38470.0, 7471.0}> ()
            weighted = Mul (colours, weights)
            axis = Constant <value_ints = [1]> ()
            sum = ReduceSum (weighted, axis)
            half = Constant <value_float = 32768.0> ()
            more = Add (sum, half)
            full = Constant <value_float = 65536.0> ()
            share = Div (more, full)
            channels = Floor (share)
"""


# the centre of the picture, or the picture with equal black margins, in the proportions of `size`
SCALED = """
            sides = Shape <start = 2, end = 4> (channels)
            swap = Constant <value_ints = [1, 0]> ()
            swapped = Gather (sides, swap)
            enlarged = Mul (swapped, size)
            turned = Gather (size, swap)
            scaled = Div (enlarged, turned)
            two = Constant <value_ints = [2]> ()
"""
FITS = {
    "stretch": "fitted = Identity (channels)",
    "crop": f"""{SCALED}
            one = Constant <value_ints = [1]> ()
            inner = Min (sides, scaled)
            visible = Max (inner, one)
            beyond = Sub (sides, visible)
            first = Div (beyond, two)
            last = Add (first, visible)
            axes = Constant <value_ints = [2, 3]> ()
            fitted = Slice (channels, first, last, axes)
""",
    "pad": f"""{SCALED}
            outer = Max (sides, scaled)
            missing = Sub (outer, sides)
            margin = Div (missing, two)
            zeros = Constant <value_ints = [0, 0]> ()
            margins = Concat <axis = 0> (zeros, margin, zeros, margin)
            fitted = Pad (channels, margins)
""",
}


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs the exported model, see export.format_module."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / FILE, options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {takes: images})[0]
