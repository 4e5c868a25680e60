"""The stages with a backbone that OpenVINO runs, compared with TensorFlow."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages import features, finetune, train_subnet
from tests.stages.test_training import (
    BACKBONE,
    LOGISTIC,
    THAWED,
    TOP,
    TURNED,
    record,
)
from thaw.evaluation.model_outputs import model_outputs
from thaw.models.bundle import find_model
from thaw.serve.predictor import Predictor
from thaw.storage.arrays import ArrayFolder

pytestmark = pytest.mark.usefixtures("narrow")

OPENVINO = {**BACKBONE, "engine": "openvino"}


@pytest.fixture
def project(workplace, extract_features, monkeypatch, tmp_path):
    """Return a function that makes a project with features of an engine, at one precision."""

    def make(precision: str) -> None:
        monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
        tuned = {**THAWED, **TURNED, "cached": True, "augmented_views": 2}
        workplace(
            32,
            3,
            2,
            backbones={"base": {**OPENVINO, "precision": precision}},
            subnets={"top": TOP, "logistic": LOGISTIC},
            finetunes={"tuned": tuned},
        )
        extract_features()

    return make


def selected() -> np.ndarray:
    features = ArrayFolder("data/features/base")
    return np.asarray(features.select(features.keys)[:])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_of_both_engines_agree(project, monkeypatch, precision):
    project(precision)
    ours = selected()
    recipe = json.loads(Path("data/features/base/recipe.json").read_text())
    assert recipe["engine"].startswith("openvino 20") and "batch_size" not in recipe
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("engine: openvino", "engine: tensorflow"))
    features.main("base")
    theirs = selected()
    assert ours.dtype == theirs.dtype == {"float32": "float32", "bfloat16": "float16"}[precision]
    difference = np.abs(ours.astype("float32") - theirs.astype("float32")).mean()
    allowed = {"float32": 1e-5, "bfloat16": 0.03}[precision]  # bfloat16 has 8 significant bits
    assert difference < allowed * np.abs(theirs.astype("float32")).mean()


def test_training_starts_from_features_of_openvino(project, afresh):
    project("bfloat16")
    for name in ("top", "logistic"):
        afresh()
        train_subnet.main(name)
        assert record(name)["backbone"]["engine"] == "openvino"
    afresh()
    finetune.main("tuned")
    assert record("tuned")["start"] is not None
    assert find_model("tuned").load()(np.zeros((1, 32, 32, 3), "uint8")).shape == (1, 2)


@pytest.mark.parametrize("name", ["top", "logistic"])
def test_predictions_use_the_features_of_training(project, afresh, name):
    """A subnet's probabilities of images equal those of its cached features."""
    project("bfloat16")
    train_subnet.main(name)
    afresh()
    images = ArrayFolder("data/images")
    expected = model_outputs(name).probabilities(images.keys)
    run = find_model(name).load()
    pixels = np.asarray(images.select(images.keys)[:])
    np.testing.assert_allclose(run(pixels), expected, atol=2e-6)
    served = Predictor(find_model(name), (), 4).predict(list(pixels[:4]), [True, False, True, True])
    np.testing.assert_allclose([each.probabilities for each in served], expected[:4], atol=2e-6)
