"""ONNX: one file that many runtimes read; ONNX Runtime is the one it is checked with."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.config.dataset import Image
from thaw.runtime.tensorflow import keras, tf

FILE = "model.onnx"
OPSET = 18
"""The first whose Resize smooths where it shrinks."""
AT_ONCE = 8
"""Calibration images: what every layer gives for them is held in memory."""
FILTERS = {
    "nearest": 'mode = "nearest", nearest_mode = "round_prefer_ceil"',
    "bilinear": 'mode = "linear", antialias = 1, exclude_outside = 1',
    "bicubic": 'mode = "cubic", cubic_coeff_a = -0.5, antialias = 1, exclude_outside = 1',
}
"""Pillow's, as attributes of Resize. It has no lanczos."""


def write(
    model: keras.Model, image: Image, folder: Path, calibration: np.ndarray | None = None
) -> str:
    """Write FILE into `folder` and give what it takes: pictures (batch, height, width, 3) of any
    size, or, where the pipeline resizes by lanczos, pixels (batch, size, size, channels).

    Args:
        calibration: pixels; products and convolutions are then of int8 (QDQ), with scales from
            these. Resizing is never.
    """
    import onnx

    body = _body(model)
    if calibration is not None:
        body = _quantized(body, calibration)
    takes = "pixels"
    if image.resampling in FILTERS:
        takes = "pictures"
        before = _resizing(image)
        before.ir_version = body.ir_version
        body = onnx.compose.merge_models(before, body, [("resized", "pixels")])
    body.producer_name, body.producer_version = "thaw", ""
    onnx.checker.check_model(body)
    onnx.save(body, folder / FILE)
    return takes


def _body(model: keras.Model):
    """From pixels to probabilities."""
    import onnx
    import tf2onnx

    inputs = [tf.TensorSpec((None, *model.input_shape[1:]), "uint8", name="pixels")]
    function = tf.function(lambda pixels: model(pixels, training=False), input_signature=inputs)
    made, _ = tf2onnx.convert.from_function(function, inputs, opset=OPSET)
    graph = made.graph
    # constants of the preprocessing are left as inputs of the graph
    for held, inner in function.get_concrete_function().graph.captures:
        left = [given for given in graph.input if given.name == inner.name]
        if not left:
            continue
        graph.input.remove(left[0])
        if any(inner.name in node.input for node in graph.node):
            graph.initializer.append(onnx.numpy_helper.from_array(held.numpy(), inner.name))
    named = graph.output[0].name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["probabilities" if name == named else name for name in names]
    graph.output[0].name = "probabilities"
    return made


def _quantized(body, calibration: np.ndarray):
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            starts = range(0, len(calibration), AT_ONCE)
            self._batches = iter([calibration[n : n + AT_ONCE] for n in starts])

        def get_next(self):
            batch = next(self._batches, None)
            return None if batch is None else {"pixels": batch}

    with tempfile.TemporaryDirectory() as place:
        before, ready, after = (f"{place}/{name}.onnx" for name in ("before", "ready", "after"))
        onnx.save(body, before)
        quant_pre_process(before, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            after,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=_end(onnx.load(ready)),
        )
        return onnx.load(after)


def _end(made) -> list[str]:
    """The output layer, what comes before it up to the layer below, and all after it: they cost no
    time and are what int8 harms most."""
    makers = {name: node for node in made.graph.node for name in node.output}
    waiting, found = [(made.graph.output[0].name, 0)], set()
    while waiting:
        name, passed = waiting.pop()
        node = makers.get(name)
        if node is None:
            continue
        below = passed + (node.op_type in ("MatMul", "Gemm", "Conv"))
        if below < 2:
            found.add(node.name)
            waiting += [(given, below) for given in node.input]
    return sorted(found)


def _resizing(image: Image):
    """thaw.data.decoding's `resized`, from pictures to pixels: calculated in float32 and rounded
    once. Grey is Pillow's, sums of whole numbers below 2^24."""
    import onnx

    grey = image.colour == "grey"
    made = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {OPSET}]>
        resizing (uint8[batch, height, width, 3] pictures)
            => (uint8[batch, {image.size}, {image.size}, {1 if grey else 3}] resized)
        {{
            exact = Cast <to = 1> (pictures)
            colours = Transpose <perm = [0, 3, 1, 2]> (exact)
            {GREY if grey else "channels = Identity (colours)"}
            kept = Shape <start = 0, end = 2> (channels)
            sizes = Concat <axis = 0> (kept, size)
            smooth = Resize <coordinate_transformation_mode = "half_pixel",
                {FILTERS[image.resampling]}> (channels, , , sizes)
            whole = Round (smooth)
            least = Constant <value_float = 0.0> ()
            most = Constant <value_float = 255.0> ()
            clipped = Clip (whole, least, most)
            bytes = Cast <to = 2> (clipped)
            resized = Transpose <perm = [0, 2, 3, 1]> (bytes)
        }}""")
    size = np.array([image.size, image.size], "int64")
    made.graph.initializer.append(onnx.numpy_helper.from_array(size, "size"))
    return made


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


def runtime(folder: Path, takes: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """From what it takes, uint8, to probabilities (batch, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / FILE, options, providers=["CPUExecutionProvider"]
    )
    return lambda given: session.run(None, {takes: given})[0]
