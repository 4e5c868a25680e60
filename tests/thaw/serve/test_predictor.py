"""Predictions, maps and similar images of `thaw serve`, compared with those of the pipeline."""

import csv
import json
import shutil
import zipfile

import numpy as np
import pytest
import yaml

from tests.thaw.models.test_gradcam import SHAPE, subnet
from thaw.cli.main import command
from thaw.data.decoding import decode
from thaw.models import gradcam, logistic
from thaw.models.bundle import CARD, find_model
from thaw.models.saving import save_model
from thaw.models.subnet import build_subnet
from thaw.runtime.tensorflow import keras
from thaw.serve.nearest import NearestImages
from thaw.serve.predictor import FeatureGradCam, Predictor, sequential
from thaw.storage.arrays import ArrayFolder


def decode_photos(photos, predictor) -> list[np.ndarray]:
    image = predictor.bundle.image
    return [decode(p.read_bytes(), image) for p in photos]


@pytest.fixture(scope="module")
def packaged(after_training, tmp_path_factory) -> str:
    """Return the path of the packaged model `logistic`."""
    out = str(tmp_path_factory.mktemp("packaged") / "packaged.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(after_training)
        command(["package", "logistic", out])
    return out


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(predictor, photos):
    pixels = decode_photos(photos[:11], predictor)
    alone = [predictor.predict([image], [False])[0].probabilities for image in pixels]
    assert np.ptp(alone, axis=0).max() > 0.01, "the images have different probabilities"
    for order in (range(11), reversed(range(11)), [4, 4, 9]):
        order = list(order)
        together = predictor.predict([pixels[n] for n in order], [n % 2 == 0 for n in order])
        for n, prediction in zip(order, together, strict=True):
            assert prediction.probabilities == pytest.approx(alone[n], abs=1e-6)
            assert (prediction.map is None) == (n % 2 == 1) == (prediction.matches is None)


@pytest.mark.parametrize("name", ["logistic", "packaged"])
def test_probabilities_match_predict_and_maps_match_evaluation(
    name, inside, packaged, predictor, photos, tmp_path
):
    model = packaged if name == "packaged" else name
    command(["predict", model, *map(str, photos[:5]), "--out", str(tmp_path / "predictions.csv")])
    with open(tmp_path / "predictions.csv", newline="") as file:
        expected = [float(row["probability of square"]) for row in csv.DictReader(file)]
    if name == "packaged":
        predictor = Predictor(find_model(model), (), 4)
    assert predictor.has_maps and predictor.nearest_images.problem is None
    predictions = predictor.predict(decode_photos(photos[:5], predictor), [True] * 5)
    probabilities = [prediction.probabilities[1] for prediction in predictions]
    assert probabilities == pytest.approx(expected, abs=1e-4)
    features = ArrayFolder("data/features/vgg16")
    values = np.stack([features[key] for key in keys(photos[:5])])
    weights = logistic.load(inside / "models/logistic/model.npz")
    classes = np.array([prediction.probabilities.argmax() for prediction in predictions])
    maps = gradcam.of_logistic(weights, values, classes)
    maps = np.rint(maps / maps.max(axis=(1, 2), keepdims=True).clip(1e-30) * 255)
    assert np.abs(np.stack([prediction.map for prediction in predictions]) - maps).max() <= 2


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_maps_of_a_dense_subnet_match_evaluation(tmp_path, afresh, pooling):
    afresh()
    values = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype("float32")
    chosen = subnet(activation="relu", pooling=pooling)
    model = build_subnet(chosen, SHAPE, 3)
    save_model(model, tmp_path / "model.keras")
    classes = np.array([0, 1, 2, 0, 1])
    expected = gradcam.of_subnet(chosen, tmp_path / "model.keras", values, classes)
    maps = FeatureGradCam(sequential([model], SHAPE, "float32"))
    assert maps.possible
    np.testing.assert_allclose(maps(values, classes), expected, rtol=1e-4, atol=1e-7)
    assert not FeatureGradCam(
        sequential([build_subnet(chosen, (1, 1, 6), 3)], (1, 1, 6), "float32")
    ).possible


def keys(photos) -> list[str]:
    with open("data/index.csv", newline="") as file:
        by_path = {
            row["path"].split("/", 1)[1]: row["pixel_sha256"] for row in csv.DictReader(file)
        }
    return [by_path[f"{photo.parent.name}/{photo.name}"] for photo in photos]


def test_the_most_similar_image_of_a_training_image_is_itself(inside, predictor, photos):
    with open("data/split.csv", newline="") as file:
        split = {row["pixel_sha256"]: row["split"] for row in csv.DictReader(file)}
    train = [p for p, key in zip(photos, keys(photos), strict=True) if split[key] == "train"][:3]
    predictions = predictor.predict(decode_photos(train, predictor), [True] * 3)
    for photo, prediction in zip(train, predictions, strict=True):
        similar = predictor.nearest_images.describe(prediction.matches)
        assert similar[0]["file"] == f"{photo.parent.name}/{photo.name}"
        assert similar[0]["similarity"] == pytest.approx(1, abs=1e-4)
        assert similar[0]["label"] == photo.parent.name
        assert similar[0]["picture"].startswith("data:image/jpeg;base64,")
        cosines = [each["similarity"] for each in similar]
        assert len(similar) == 4 and cosines == sorted(cosines, reverse=True)


def test_without_data_there_are_no_similar_images(packaged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = NearestImages.load(find_model(packaged)).problem
    assert problem == "data/split.csv and data/index.csv are missing"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("data/features/vgg16/recipe.json", "float32", "bfloat16", "computed with other weights"),
        ("data/images/recipe.json", "64", "65", "another size or colour than the model's"),
        ("data/images/recipe.json", "{", "", "data/images/recipe.json cannot be read: "),
        ("data/features/vgg16/recipe.json", "{", "[{", "vgg16/recipe.json cannot be read: "),
        ("data/features/vgg16/recipe.json", "", None, "vgg16/recipe.json cannot be read: "),
        ("data/split.csv", ",disc,", ",dish,", "have other classes than the model: 'dish'"),
    ],
)
def test_data_that_do_not_fit_the_model_are_not_used(
    after_training, tmp_path, monkeypatch, file, old, new, message
):
    shutil.copytree(after_training / "data", tmp_path / "data")
    shutil.copytree(after_training / "models", tmp_path / "models")
    shutil.copy(after_training / "params.yaml", tmp_path)
    path = tmp_path / file
    if new is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(old, new))
    monkeypatch.chdir(tmp_path)
    assert message in NearestImages.load(find_model("logistic")).problem


def test_a_packaged_model_is_compared_by_features_of_its_backbone(
    after_training, packaged, tmp_path, monkeypatch
):
    """Two backbones have cached features. The model's is the second in params.yaml."""
    shutil.copytree(after_training / "data", tmp_path / "data")
    shutil.copytree(tmp_path / "data/features/vgg16", tmp_path / "data/features/another")
    shutil.copy(tmp_path / "data/weights/vgg16.npz", tmp_path / "data/weights/another.npz")
    values = yaml.safe_load((after_training / "params.yaml").read_text())
    values["backbones"] = {"another": {**values["backbones"]["vgg16"]}, **values["backbones"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    nearest = NearestImages.load(find_model(packaged))
    assert (nearest.problem, nearest.name) == (None, "vgg16")


def test_a_packaged_model_with_another_structure_is_served_without_maps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(x))
    save_model(model, tmp_path / "other.keras")
    image = {"size": 16, "resampling": "nearest", "colour": "rgb"}
    with zipfile.ZipFile(tmp_path / "other.keras", "a") as archive:
        card = {"classes": ["a", "b"], "image": image, "settings": {}}
        archive.writestr(CARD, json.dumps(card))
    predictor = Predictor(find_model("other.keras"), (), 2)
    assert not predictor.has_maps
    grey = np.full((16, 16, 3), 128, "uint8")
    (prediction,) = predictor.predict([grey], [True])
    assert prediction.map is None
    expected = model.predict_on_batch(grey[None])[0]
    assert prediction.probabilities == pytest.approx(expected, abs=1e-6)
