"""OpenVINO as an engine: the same bytes in any batch, with any threads and in any process."""

import functools
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from thaw.config.backbone import Backbone
from thaw.errors import UserError
from thaw.models.backbones.applications import build_application, preprocess_pixels
from thaw.runtime import openvino
from thaw.runtime.tensorflow import keras

SHAPE = (32, 32, 3)


@functools.cache
def network(name: str) -> keras.Model:
    """Return a backbone with random weights, from uint8 pixels to features."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input(SHAPE, dtype="uint8")
    body = build_application(name, SHAPE[0])
    return keras.Model(pixels, body(preprocess_pixels(pixels, name, "own")))


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype="uint8")


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("MobileNetV2", "float32"),
        ("MobileNetV2", "bfloat16"),
        ("EfficientNetLite0", "bfloat16"),
        ("VGG16", "bfloat16"),
    ],
)
def test_an_output_depends_only_on_its_image(name, precision):
    """Not on its position, the other images, their number, or the number of threads."""
    model, pixels = network(name), images(12)
    one, three = (openvino.compile_network(model, precision, n) for n in (1, 3))
    expected = [output.tobytes() for output in one(pixels)]
    assert len(set(expected)) == len(pixels)
    for run in (one, three):
        assert [output.tobytes() for output in run(pixels[::-1])] == expected[::-1]
        assert [run(pixels[n : n + 1])[0].tobytes() for n in range(3)] == expected[:3]
        padded = np.concatenate([pixels[3:5], np.zeros_like(pixels[:7])])
        assert [output.tobytes() for output in run(padded)[:2]] == expected[3:5]


def digest(threads: int) -> str:
    outputs = openvino.compile_network(network("MobileNetV2"), "bfloat16", threads)(images(5))
    return hashlib.sha256(outputs.tobytes()).hexdigest()


def test_two_processes_compute_the_same_bytes():
    code = "from tests.thaw.runtime.test_openvino import digest; print(digest(2))"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert other.stdout.split()[-1] == digest(1)


def test_outputs_agree_with_keras():
    model, pixels = network("MobileNetV2"), images(4)
    expected = model.predict_on_batch(pixels)
    difference = openvino.compile_network(model, "float32", 2)(pixels) - expected
    assert np.abs(difference).max() < 1e-4 * np.abs(expected).max()


def test_no_images_give_no_outputs():
    model = network("VGG16")
    assert openvino.compile_network(model, "float32", 2)(images(0)).shape == (0, 1, 1, 512)


def test_importing_openvino_leaves_telemetry_out():
    code = (
        "import sys; from thaw.runtime.openvino import computed_precision; "
        "computed_precision('bfloat16'); "
        "print(sorted({'openvino_telemetry', 'tensorflow'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_without_the_package_a_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"openvino cannot be imported .*make setup.*engine=tens"):
        openvino.import_openvino()


def test_an_engine_that_does_not_exist_is_rejected():
    with pytest.raises(ValueError, match="'tensorflow' or 'openvino'"):
        Backbone.model_validate({"engine": "openvin"})
