"""Compare feature extraction with the machine's limit: `python -m benchmarks.features`.

One process runs VGG16 with random weights on the same photographs in several ways, in turn:

- Keras's model.predict on pixels in memory;
- the stage's extraction from memory into an empty store, and from JPEG files;
- OpenVINO and ONNX Runtime on preprocessed pixels in memory, if installed (make setup
  EXTRA=benchmarks).

Prints the median images/s of a few rounds, the ratio to predict in float32, and the speed that the
network would have at the rate of a large matrix product.
"""

import argparse
import importlib.util
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.photograph import photograph
from thaw.config.backbone import Backbone
from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.models.backbones.applications import build_application, named_tensors, preprocess_pixels
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.runtime.tensorflow import keras, make_deterministic, tf

BATCH = 32
CONVOLUTIONS = [(1, 2), (2, 2), (3, 3), (4, 3), (5, 3)]  # VGG16's blocks: number, convolutions


def main() -> None:
    """Measure and print the speeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=150, help="pixels")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.images % BATCH:
        parser.error(f"--images {chosen.images}: expected a multiple of {BATCH}.")
    with tempfile.TemporaryDirectory() as folder:
        ways = _ways(Path(folder), chosen.images, chosen.size)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(chosen.rounds + 1):  # the first warms up
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                if round_:
                    seconds[name].append(time.perf_counter() - started)
        speed = {name: chosen.images / statistics.median(s) for name, s in seconds.items()}
        first = next(iter(speed.values()))
        for name, value in speed.items():
            print(f"{name:<44} {value:6.1f} images/s, ratio {value / first:.2f}")
        operations = _operations(chosen.size)
        for precision in ("float32", "bfloat16"):
            rate = _product(precision)
            print(
                f"matrix product in {precision}: {rate / 1e9:.0f} GFLOP/s; the network's "
                f"{operations / 1e9:.2f} GFLOP at that rate: {rate / operations:.1f} images/s"
            )


def _ways(folder: Path, count: int, size: int) -> dict[str, Callable[[], object]]:
    """Return the functions to compare, by name; the first is the reference."""
    random = np.random.default_rng(0)
    image = Image(size=size, resampling="bicubic", colour="rgb")
    files = [photograph(random) for _ in range(count)]
    keys = [random.bytes(32).hex() for _ in range(count)]
    images = np.stack([decode(file, image) for file in files])
    image_of = dict(zip(keys, images, strict=True))
    make_deterministic(0)
    tensors = named_tensors(build_application("VGG16", size))
    np.savez(folder / "weights.npz", **tensors)
    ways: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "bfloat16"):
        backbone = Backbone(
            application="VGG16",
            weights="random",
            digest=None,
            preprocessing="own",
            precision=precision,
            batch_size=BATCH,
        )
        frozen = FrozenBackbone(backbone, folder / "weights.npz", images.shape[1:], None)

        def predict(frozen=frozen):
            frozen.network.predict(images, batch_size=BATCH, verbose=0)

        def ours(frozen=frozen):
            with tempfile.TemporaryDirectory(dir=folder) as store:
                os.environ["THAW_STORE"] = store
                frozen.fill(frozen.store(), keys, image_of.__getitem__, "features")

        def from_files(ours=ours):
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # as stage preprocess
                list(pool.map(lambda file: decode(file, image), files))
            ours()

        ways[f"model.predict, {precision}"] = predict
        ways[f"stage features, {precision}"] = ours
        ways[f"stages preprocess and features, {precision}"] = from_files
    inputs = np.asarray(preprocess_pixels(images, "VGG16", "own"))
    inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    batches = [inputs[n : n + BATCH] for n in range(0, count, BATCH)]
    graph = _onnx(tensors, size)
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        ways["ONNX Runtime, float32"] = lambda: [session.run(None, {"x": b}) for b in batches]
    if importlib.util.find_spec("openvino"):
        import openvino

        core = openvino.Core()
        for name in ("f32", "bf16"):
            options = {"INFERENCE_PRECISION_HINT": name, "PERFORMANCE_HINT": "THROUGHPUT"}
            model = core.compile_model(core.read_model(io.BytesIO(graph)), "CPU", options)

            def infer(model=model):
                queue = openvino.AsyncInferQueue(model)
                for batch in batches:
                    queue.start_async({0: batch})
                queue.wait_all()

            ways[f"OpenVINO, {name}"] = infer
    return ways


def _onnx(tensors: dict[str, np.ndarray], size: int) -> bytes:
    """Return VGG16 without its top as an ONNX model of preprocessed x (32, 3, size, size)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers, last = [], [], "x"
    for block, count in CONVOLUTIONS:
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            kernel = tensors[f"{name}/kernel"].transpose(3, 2, 0, 1)  # (out, in, height, width)
            initializers += [
                numpy_helper.from_array(np.ascontiguousarray(kernel), f"{name}_w"),
                numpy_helper.from_array(tensors[f"{name}/bias"], f"{name}_b"),
            ]
            inputs = [last, f"{name}_w", f"{name}_b"]
            nodes.append(helper.make_node("Conv", inputs, [name], pads=[1] * 4))
            nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"]))
            last = f"{name}_relu"
        pool = f"pool{block}"
        nodes.append(
            helper.make_node("MaxPool", [last], [pool], kernel_shape=[2, 2], strides=[2, 2])
        )
        last = pool
    end = size // 32
    shapes = {"x": (BATCH, 3, size, size), last: (BATCH, 512, end, end)}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])]
        for name in ("x", last)
    )
    graph = helper.make_graph(nodes, "vgg16", inputs, outputs, initializers)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _operations(size: int) -> float:
    """Return the number of additions and multiplications of VGG16's convolutions for an image."""
    model = build_application("VGG16", size)
    return sum(
        2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    )


def _product(precision: str) -> float:
    """Return the operations per second of a large matrix product, the best of five."""
    n, best = 4096, 0.0
    a = tf.cast(tf.random.stateless_normal((n, n), (0, 1)), precision)
    product = tf.function(lambda: tf.reduce_sum(tf.linalg.matmul(a, a)))
    for _ in range(5):
        started = time.perf_counter()
        product().numpy()
        best = max(best, 2 * n**3 / (time.perf_counter() - started))
    return best


if __name__ == "__main__":
    keras.config.disable_interactive_logging()
    main()
