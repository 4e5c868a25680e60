"""The model card: Hugging Face's header, and the text on data, results and limitations."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from tests.conftest import ROOT
from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.errors import UserError
from thaw.export import licences
from thaw.export.card import render_card
from thaw.export.data import ExportData
from thaw.export.example_code import example_code
from thaw.export.export import FORMATS
from thaw.models.bundle import find_model

AGREEMENT = {
    "images": 24,
    "split": "validation",
    "int8": False,
    "calibration": 0,
    "accuracy": {"exported": 0.75, "Keras in float32": 0.75},
    "against": {
        "Keras in float32": {
            "largest_difference": 1e-7,
            "mean_difference": 1e-8,
            "same_class": 1.0,
        }
    },
    "speed_up": {"Keras in float32": 1.5},
    "megabytes": {"exported": 1.25, "trained": 1.5},
}
# as the evaluate stage writes results/details/NAME.json
EVALUATION = {
    "counts": {"train": 40, "validation": 24, "test": 8},
    "dataset": "pets",
    "metrics": {"accuracy": 0.75, "ece": 0.1234, "f1": 0.7, "roc_auc": 0.8},
    "intervals_95": {"accuracy": [0.5, 0.9], "f1": [0.4, 0.8]},
    "positive": "dog",
    "settings": {"seed": 0},
    "per_class": {
        "cat": {"count": 4, "precision": 0.8, "recall": 0.9, "f1": 0.85},
        "dog": {"count": 4, "precision": 0.7, "recall": 0.6, "f1": 0.65},
    },
    "per_group": {
        "indoors": {"accuracy": 0.9, "count": 4},
        "outdoors": {"accuracy": 0.625, "count": 4},
    },
}


def card(model: str, form: str = "onnx", takes: str = "pictures", **more) -> tuple[dict, str]:
    """Return the card's YAML header and its Markdown."""
    bundle = find_model(model)
    agreement = {**AGREEMENT, **more}
    text = render_card(bundle, form, "model.onnx", takes, ExportData(bundle), agreement)
    start, head, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), body


@pytest.fixture
def results(inside):
    """Return the repository with an evaluation of its model `cnn`."""
    path = inside.folder / "results" / "details" / "cnn.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(EVALUATION))
    yield inside
    path.unlink()


@pytest.fixture
def parameters(inside):
    """Return a function that writes sections of params.yaml."""
    path = inside.folder / "params.yaml"
    yield lambda **sections: path.write_text(yaml.safe_dump(sections))
    path.unlink()


@pytest.mark.parametrize("form", FORMATS)
def test_the_header_is_valid_for_hugging_face(results, form):
    head, _ = card("cnn", form)
    assert head["license"] == "other" and head["license_name"]
    assert head["library_name"] in {"onnx", "openvino", "keras", "tflite"}
    assert head["pipeline_tag"] == "image-classification"
    for key in ("tags", "datasets", "metrics"):
        assert head[key] and all(isinstance(each, str) for each in head[key])
    (model,) = head["model-index"]
    assert model["name"] == "cnn"
    (result,) = model["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "pets", "name": "pets", "split": "test"}
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert metrics == {"accuracy": 0.75, "f1": 0.7, "roc_auc": 0.8}


def test_the_card_has_results_with_intervals_and_the_weakest_class_and_group(results):
    _, body = card("cnn")
    for text in (
        "| accuracy | 0.7500 | 0.5000 to 0.9000 |",
        "| roc_auc | 0.8000 |  |",
        "| dog | 4 | 0.7000 | 0.6000 | 0.6500 |",
        "| outdoors | 4 | 0.6250 |",
        "measured on 8 test images, with an uncertainty of 20.0 percentage points.",
        "The class with the lowest recall is dog (60.0%).",
        "The group with the lowest accuracy is outdoors (62.5%).",
        "off by 0.123 on average",
        "It reads 32 x 32 pixels in colour",
        "pets: 72 images, 40 for training, 24 for validation, 8 for testing.",
        "| Keras in float32 | 1e-07 | 1e-08 | 100.0 % | 1.50 |",
        ExportData(find_model("cnn")).rows.digest(),
    ):
        assert text in body, text
    assert "No pretrained weights: all weights are trained on the data above." in body


def test_the_card_of_a_model_without_results(inside):
    head, body = card("half", int8=True, calibration=7)
    assert "model-index" not in head and "int8" in head["tags"]
    assert "This model has not been evaluated: results/details/half.json did not exist" in body
    assert "Its accuracy on test images was not measured." in body
    assert "The scales of int8 were computed from 7 training images." in body
    assert "of the trained model, before its export to int8" in body


def test_an_evaluation_of_an_earlier_training_is_not_used(results):
    path = results.folder / "results" / "details" / "cnn.json"
    path.write_text(json.dumps({**EVALUATION, "settings": {"seed": 1}}))
    head, body = card("cnn")
    assert "model-index" not in head and "| accuracy | 0.7500 |" not in body
    assert "This model has not been evaluated" in body
    assert "Its accuracy on test images was not measured." in body


def test_the_models_folder_may_be_in_the_root_folder(inside):
    bundle = find_model("cnn")
    moved = replace(bundle, path=Path("/cnn"))
    with pytest.raises(UserError, match="/data/split.csv and /data/images do not exist"):
        ExportData(moved)
    data = ExportData(bundle)
    text = render_card(moved, "onnx", "model.onnx", "pictures", data, AGREEMENT)
    assert "# cnn: cat or dog" in text


@pytest.fixture
def example(tmp_path, monkeypatch, capsys):
    """Return a function that runs the example code and returns what the runtime gets."""
    recorded = []

    def run(_, inputs):
        recorded.extend(inputs.values())
        return [np.array([[0.25, 0.75]])]

    def execute(photo: Pillow.Image, takes: str, image: Image) -> np.ndarray:
        photo.save("photo.jpg", "TIFF")
        exec(example_code("onnx", takes, image, ["cat", "dog"]), {})
        assert capsys.readouterr().out == "dog 0.7500\n"
        return recorded.pop()[0]

    runtime = SimpleNamespace(InferenceSession=lambda *_, **__: SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.chdir(tmp_path)
    return execute


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        *[("uint16", {"bit_depth": bits}) for bits in (16, 12, 9)],
        *[(kind, {"value_range": [0, 500]}) for kind in ("uint16", "int32", "float32")],
    ],
)
@pytest.mark.parametrize("takes", ["pictures", "pixels"])
def test_the_example_code_reads_deep_grey_pictures_like_the_pipeline(
    example, takes, kind, parameters
):
    image = Image(size=128, resampling="nearest", colour="grey", **parameters)
    largest = 2 ** parameters.get("bit_depth", 9) - 1
    values = np.linspace(0, largest, 128 * 128).astype(kind).reshape(128, 128)
    actual = example(Pillow.fromarray(values), takes, image)
    expected = decode(Path("photo.jpg").read_bytes(), image)
    assert np.ptp(expected) == 255
    channels = 1 if takes == "pixels" else 3
    np.testing.assert_array_equal(actual, np.repeat(expected, channels, axis=-1))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("size", [32, [24, 40]])
@pytest.mark.parametrize(("height", "width"), [(40, 200), (151, 30)])
def test_the_example_code_fits_panoramas_like_the_pipeline(
    example, picture, fit, colour, size, height, width
):
    image = Image(size=size, resampling="bicubic", colour=colour, fit=fit)
    actual = example(Pillow.fromarray(picture(0, height, width)), "pixels", image)
    difference = actual.astype(int) - decode(Path("photo.jpg").read_bytes(), image)
    assert np.abs(difference).max() <= 2  # Pillow's 8-bit resizing rounds twice


def test_the_card_has_the_bit_depth_and_the_fit(inside):
    bundle = find_model("cnn")
    image = bundle.image.model_copy(update={"bit_depth": 12, "fit": "pad"})
    for model, expected in ((replace(bundle, image=image), True), (bundle, False)):
        data = ExportData(bundle)
        text = render_card(model, "onnx", "model.onnx", "pictures", data, AGREEMENT)
        assert ("grey pictures use 12 bits, of which the upper 8 are read." in text) is expected
        assert text.count("Pictures of other proportions get black margins.") == 2 * expected


def test_the_card_has_the_licences_of_data_and_weights(inside, parameters):
    parameters(dataset={"name": "cells", "source": {"kind": "elpv"}})
    head, body = card("half")
    assert head["license"] == "cc-by-nc-sa-4.0" and head["datasets"] == ["cells"]
    assert "Data: CC BY-NC-SA 4.0" in body
    assert "No pretrained weights: VGG16 was initialized at random." in body
    parameters(dataset={"name": "mine", "source": {"kind": "folder", "path": "x"}})
    head, body = card("half")
    assert head["license"] == "other" and "Data: Not stated. Please add it." in body


def test_the_shipped_datasets_and_backbones_have_a_licence():
    """All of conf/ except those for the user's data."""
    for path in (ROOT / "conf" / "dataset").glob("*.yaml"):
        source = yaml.safe_load(path.read_text())["source"]
        known = licences.data_licence(source) is not licences.UNSTATED
        assert known is (path.stem not in ("folder", "manifest")), path.name
    for path in (ROOT / "conf" / "backbone").glob("*.yaml"):
        backbone = yaml.safe_load(path.read_text())
        licence = licences.weights_licence(backbone)
        assert "unknown" not in licence and backbone["application"] in licence
