"""The resizing that ONNX and OpenVINO do in the graph is the pipeline's."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.thaw.export.conftest import needed
from thaw.config.dataset import Image
from thaw.data.decoding import resize

SIZE = 50
SHAPES = [(37, 53), (101, 63), (224, 224), (300, 200), (50, 200), (1, 1), (3, 400), (50, 50)]


def with_onnx(image: Image) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    from thaw.export.onnx import _resizing

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = _resizing(image).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(None, {"pictures": pictures})[0]


def with_openvino(image: Image) -> Callable[[np.ndarray], np.ndarray]:
    from thaw.export.openvino import CPU, _openvino, _resizing

    ov = _openvino()
    from openvino import opset14

    shape = [-1, image.size, image.size, 3 if image.colour == "rgb" else 1]
    pixels = opset14.parameter(shape, np.uint8, name="pixels")
    same = ov.Model([opset14.convert(pixels, "f32")], [pixels])
    compiled = ov.compile_model(_resizing(ov, same, image), "CPU", CPU)
    return lambda pictures: compiled(pictures)[0]


@pytest.mark.parametrize(
    ("form", "resampling"),
    [
        ("onnx", "nearest"),
        *[(form, r) for form in ("onnx", "openvino") for r in ("bilinear", "bicubic")],
    ],
)
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_it_is_that_of_the_pipeline(picture, form, resampling, colour):
    """Smaller and larger, odd sizes, smooth pictures and noise: at most 1 apart, and rarely."""
    needed(form)
    make = {"onnx": with_onnx, "openvino": with_openvino}[form]
    run = make(Image(size=SIZE, resampling=resampling, colour=colour))
    apart, count = 0, 0
    for number, (height, width) in enumerate(SHAPES):
        noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype="uint8")
        for pixels in (picture(number, height, width), noise):
            opened = Pillow.fromarray(pixels).convert("RGB" if colour == "rgb" else "L")
            expected = resize(opened, SIZE, resampling).astype(int)
            given = run(pixels[None])[0]
            assert given.shape == expected.shape
            off = np.abs(given - expected)
            assert off.max() <= (0 if resampling == "nearest" else 1), (height, width)
            apart, count = apart + (off > 0).sum(), count + off.size
    assert apart / count < 0.002
