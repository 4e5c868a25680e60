"""Resizing inside ONNX and OpenVINO models, compared with the pipeline's."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.thaw.export.conftest import require_extra
from thaw.config.dataset import Image
from thaw.data.decoding import resize
from thaw.runtime.openvino import import_openvino

SIZE = 50
SHAPES = [(37, 53), (101, 63), (224, 224), (300, 200), (50, 200), (1, 1), (3, 400), (50, 50)]


def onnx_resizing(image: Image) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    from thaw.export.onnx import _resizing

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = _resizing(image).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(None, {"pictures": pictures})[0]


def openvino_resizing(image: Image) -> Callable[[np.ndarray], np.ndarray]:
    from thaw.export.openvino import CPU, _resizing

    ov = import_openvino()
    from openvino import opset14

    pixels = opset14.parameter([-1, *image.shape], np.uint8, name="pixels")
    identity = ov.Model([opset14.convert(pixels, "f32")], [pixels])
    compiled = ov.compile_model(_resizing(ov, identity, image), "CPU", CPU)
    return lambda pictures: compiled(pictures)[0]


@pytest.mark.parametrize(
    ("form", "resampling"),
    [
        ("onnx", "nearest"),
        *[(form, r) for form in ("onnx", "openvino") for r in ("bilinear", "bicubic")],
    ],
)
@pytest.mark.parametrize(
    ("colour", "fit", "size"),
    [
        ("rgb", "stretch", SIZE),
        ("grey", "stretch", [30, 64]),
        ("grey", "crop", SIZE),
        ("rgb", "crop", [30, 64]),
        ("rgb", "pad", SIZE),
        ("grey", "pad", [51, 31]),
    ],
)
def test_resizing_matches_the_pipeline(picture, form, resampling, colour, fit, size):
    """Pixels of smooth pictures and of noise, in many sizes, differ rarely and by at most 1."""
    require_extra(form)
    make = {"onnx": onnx_resizing, "openvino": openvino_resizing}[form]
    run = make(Image(size=size, resampling=resampling, colour=colour, fit=fit))
    different, count = 0, 0
    for number, (height, width) in enumerate(SHAPES):
        noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype="uint8")
        for pixels in (picture(number, height, width), noise):
            opened = Pillow.fromarray(pixels).convert("RGB" if colour == "rgb" else "L")
            expected = resize(opened, size, resampling, fit).astype(int)
            actual = run(pixels[None])[0]
            assert actual.shape == expected.shape
            difference = np.abs(actual - expected)
            assert difference.max() <= (0 if resampling == "nearest" else 1), (height, width)
            different += (difference > 0).sum()
            count += difference.size
    assert different / count < 0.002
