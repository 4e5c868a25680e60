"""The model card: what Hugging Face demands of it, and what it says of data, results and limits."""

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
from thaw.export.card import card
from thaw.export.data import Data
from thaw.export.export import FORMATS
from thaw.export.loading import code
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
EVALUATED = {
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
"""As stages write results/details/NAME.json."""


def written(model: str, form: str = "onnx", takes: str = "pictures", **more) -> tuple[dict, str]:
    """The card's YAML and its Markdown."""
    trained = find_model(model)
    text = card(trained, form, "model.onnx", takes, Data(trained), {**AGREEMENT, **more})
    start, head, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), body


@pytest.fixture
def results(inside):
    """The repository with its model `cnn` evaluated."""
    path = inside.folder / "results" / "details" / "cnn.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(EVALUATED))
    yield inside
    path.unlink()


@pytest.fixture
def parameters(inside):
    """A function that writes sections of params.yaml."""
    path = inside.folder / "params.yaml"
    yield lambda **sections: path.write_text(yaml.safe_dump(sections))
    path.unlink()


@pytest.mark.parametrize("form", FORMATS)
def test_its_head_is_what_hugging_face_demands(results, form):
    head, _ = written("cnn", form)
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
    held = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert held == {"accuracy": 0.75, "f1": 0.7, "roc_auc": 0.8}


def test_it_tells_results_with_intervals_and_what_is_weakest(results):
    _, body = written("cnn")
    for said in (
        "| accuracy | 0.7500 | 0.5000 to 0.9000 |",
        "| roc_auc | 0.8000 |  |",
        "| dog | 4 | 0.7000 | 0.6000 | 0.6500 |",
        "| outdoors | 4 | 0.6250 |",
        "8 test images tell its accuracy to within 20.0 points.",
        "Its weakest class is dog, of which it finds 60.0%.",
        "Its weakest group is outdoors, with 62.5% right.",
        "off by 0.123 on average",
        "It sees 32 x 32 pixels in colour",
        "pets: 72 images, of which 40 to train on, 24 to choose by (validation), 8 to test.",
        "| Keras in float32 | 1e-07 | 1e-08 | 100.0 % | 1.50 |",
        Data(find_model("cnn")).rows.digest(),
    ):
        assert said in body, said
    assert "None were used: all weights are trained on the data above." in body


def test_without_results_it_says_so(inside):
    head, body = written("half", int8=True, calibration=7)
    assert "model-index" not in head and "int8" in head["tags"]
    assert "This model has not been evaluated: results/details/half.json was not there" in body
    assert "How often it is right was not measured." in body
    assert "Scales of int8 were taken from 7 training images." in body
    assert "are of the model before it became int8" in body


def test_an_evaluation_of_an_earlier_training_is_not_the_models(results):
    path = results.folder / "results" / "details" / "cnn.json"
    path.write_text(json.dumps({**EVALUATED, "settings": {"seed": 1}}))
    head, body = written("cnn")
    assert "model-index" not in head and "| accuracy | 0.7500 |" not in body
    assert "This model has not been evaluated" in body
    assert "How often it is right was not measured." in body


def test_a_models_folder_may_lie_directly_below_the_root(inside):
    trained = find_model("cnn")
    there = replace(trained, path=Path("/cnn"))
    with pytest.raises(UserError, match="/data/split.csv and /data/images are not there"):
        Data(there)
    said = card(there, "onnx", "model.onnx", "pictures", Data(trained), AGREEMENT)
    assert "# cnn: cat or dog" in said


@pytest.mark.parametrize("bits", [16, 12, 9])
@pytest.mark.parametrize("takes", ["pictures", "pixels"])
def test_its_code_reads_grey_pictures_of_16_bits_as_the_pipeline_does(
    tmp_path, monkeypatch, capsys, takes, bits
):
    """With a runtime that keeps what it is given."""
    image = Image(size=128, resampling="nearest", colour="grey", bits=bits)
    values = np.linspace(0, 2**bits - 1, 128 * 128).astype("uint16").reshape(128, 128)
    Pillow.fromarray(values).save(tmp_path / "photo.jpg", "PNG")
    given = []

    def run(_, inputs):
        given.append(inputs[takes])
        return [np.array([[0.25, 0.75]])]

    runtime = SimpleNamespace(InferenceSession=lambda *_, **__: SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.chdir(tmp_path)
    exec(code("onnx", takes, image, ["cat", "dog"]), {})
    assert capsys.readouterr().out == "dog 0.7500\n"
    expected = decode((tmp_path / "photo.jpg").read_bytes(), image)
    assert np.ptp(expected) == 255
    channels = 1 if takes == "pixels" else 3
    np.testing.assert_array_equal(given[0][0], np.repeat(expected, channels, axis=-1))


def test_it_says_how_many_of_16_bits_are_in_use(inside):
    trained = find_model("cnn")
    some = replace(trained, image=trained.image.model_copy(update={"bits": 12}))
    for each, said in ((some, True), (trained, False)):
        text = card(each, "onnx", "model.onnx", "pictures", Data(trained), AGREEMENT)
        assert (
            "Of 16 bits a grey picture uses 12, of which the upper 8 are taken." in text
        ) is said


def test_licences_are_those_of_the_data_and_the_weights(inside, parameters):
    parameters(dataset={"name": "cells", "source": {"kind": "elpv"}})
    head, body = written("half")
    assert head["license"] == "cc-by-nc-sa-4.0" and head["datasets"] == ["cells"]
    assert "Data: CC BY-NC-SA 4.0" in body
    assert "VGG16's are random: none were used." in body
    parameters(dataset={"name": "mine", "source": {"kind": "folder", "path": "x"}})
    head, body = written("half")
    assert head["license"] == "other" and "Data: Not stated: yours to fill in." in body


def test_the_shipped_datasets_and_backbones_have_a_licence():
    """All of conf/ but a folder of one's own."""
    for path in (ROOT / "conf" / "dataset").glob("*.yaml"):
        source = yaml.safe_load(path.read_text())["source"]
        known = licences.of_data(source) is not licences.UNSTATED
        assert known is (path.stem != "folder"), path.name
    for path in (ROOT / "conf" / "backbone").glob("*.yaml"):
        backbone = yaml.safe_load(path.read_text())
        said = licences.of_weights(backbone)
        assert "not known" not in said and backbone["application"] in said
