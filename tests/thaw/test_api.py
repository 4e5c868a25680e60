"""The public API, on small models with random weights."""

import doctest
import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import thaw
from tests.fixtures.networks import RANDOM_VGG16
from thaw import api

CLASSES = ["functional", "defective"]
BACKBONE = {**RANDOM_VGG16, "batch_size": 2}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a packaged model that calls bright images defective, results, a backbone of
    random weights, and a bright image."""
    from thaw.models.backbones.applications import build_application, named_tensors
    from thaw.models.saving import save_model
    from thaw.runtime.tensorflow import keras
    from thaw.storage.npz import save_npz

    folder = tmp_path_factory.mktemp("project")
    pictures = keras.Input((None, None, 3), dtype="uint8")
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))
    output = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(pictures, output(mean))
    output.set_weights([np.array([[-1.0, 1.0]] * 3), np.array([1.0, -1.0])])
    save_model(model, folder / "cells.keras")
    image = {"size": 32, "resampling": "bicubic", "colour": "rgb", "bits": 16}
    with zipfile.ZipFile(folder / "cells.keras", "a") as archive:
        card = {"classes": CLASSES, "image": image, "settings": {}}
        archive.writestr("thaw.json", json.dumps(card))
    (folder / "results/metrics").mkdir(parents=True)
    (folder / "results/metrics/gap256.json").write_text('{"accuracy": 0.9, "f1": 0.8}')
    (folder / "results/predictions/gap256").mkdir(parents=True)
    (folder / "results/predictions/gap256/predictions.csv").write_text(
        "pixel_sha256,label,predicted,probability of functional,probability of defective\n"
        "aa,functional,functional,0.75,0.25\n"
    )
    params = {
        "backbones": {"tiny": BACKBONE},
        "dataset": {"image": {"size": 32, "resampling": "bicubic", "colour": "rgb"}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "data/weights").mkdir(parents=True)
    save_npz(folder / "data/weights/tiny.npz", named_tensors(build_application("VGG16", 32)))
    Image.new("RGB", (40, 50), (250, 250, 250)).save(folder / "cell.png")
    return folder


@pytest.fixture(autouse=True)
def inside(project, monkeypatch):
    monkeypatch.chdir(project)


def test_the_examples_are_true():
    results = doctest.testmod(api)
    assert results.attempted >= 10 and results.failed == 0


def test_paths_arrays_and_pil_images_give_the_same_table():
    model = thaw.load_model("cells.keras")
    picture = Image.open("cell.png")
    table = model.predict(["cell.png", picture, np.asarray(picture)])
    assert table["image"].tolist() == ["cell.png", 1, 2]
    probabilities = table[[f"probability of {name}" for name in CLASSES]].to_numpy()
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    np.testing.assert_array_equal(probabilities[0], probabilities[2])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert table["probability"].tolist() == probabilities.max(axis=1).tolist()
    assert isinstance(table, pd.DataFrame)


def test_without_a_name_the_best_model_is_loaded(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(thaw.UserError, match="no model in models/"):
        thaw.load_model()
    (tmp_path / "results").mkdir()
    best = {"model": str(project / "cells.keras"), "why": "the only model", "ranking": []}
    (tmp_path / "results/best.json").write_text(json.dumps(best))
    assert thaw.load_model().name == "cells"
    assert capsys.readouterr().err == f"thaw: model {best['model']}: the only model\n"


def test_one_image_and_none_at_all():
    model = thaw.load_model("cells.keras")
    assert len(model.predict("cell.png")) == 1
    assert len(model.predict(np.zeros((5, 6), "uint8"))) == 1
    assert model.predict([]).columns.tolist()[:3] == ["image", "class", "probability"]


def test_an_image_that_cannot_be_read_is_named():
    model = thaw.load_model("cells.keras")
    with pytest.raises(thaw.UserError, match="image no.png cannot be read: No such file"):
        model.predict("no.png")


def test_features_are_cached_by_content(project, monkeypatch):
    features = thaw.extract_features(["cell.png"], backbone="tiny")
    assert features.shape == (1, 1, 1, 512) and features.dtype == "float32"
    monkeypatch.setattr("thaw.storage.store.Store.add", lambda *_: pytest.fail("not cached"))
    again = thaw.extract_features(Image.open("cell.png"), backbone="tiny")
    np.testing.assert_array_equal(again, features)


def test_results_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(thaw.UserError, match="has no results/metrics"):
        thaw.read_metrics(tmp_path)
    with pytest.raises(thaw.UserError, match="evaluate@other"):
        thaw.read_predictions("other")


def test_importing_loads_neither_tensorflow_nor_numpy():
    code = "import sys, thaw; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {"tensorflow", "keras", "numpy", "pandas"} & set(loaded.stdout.split())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = thaw.nothing
    assert set(dir(thaw)) == set(thaw.__all__)
