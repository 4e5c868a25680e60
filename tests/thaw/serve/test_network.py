"""What the served model says, beside the pipeline's and the commands' own answers."""

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
from thaw.serve.neighbours import Neighbours
from thaw.serve.network import OfFeatures, Predictor, chained
from thaw.storage.arrays import ArrayFolder


def decoded(photos, served) -> list[np.ndarray]:
    image = served.trained.image
    return [decode(p.read_bytes(), image) for p in photos]


@pytest.fixture(scope="module")
def packaged(after_training, tmp_path_factory) -> str:
    """The model `logistic` as one file."""
    out = str(tmp_path_factory.mktemp("packaged") / "packaged.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(after_training)
        command(["package", "logistic", out])
    return out


def test_an_answer_depends_on_nothing_that_stands_beside_it(served, photos):
    pixels = decoded(photos[:11], served)
    alone = [served.answers([one], [False])[0].probabilities for one in pixels]
    assert np.ptp(alone, axis=0).max() > 0.01, "they differ"
    for order in (range(11), reversed(range(11)), [4, 4, 9]):
        order = list(order)
        together = served.answers([pixels[n] for n in order], [n % 2 == 0 for n in order])
        for n, answer in zip(order, together, strict=True):
            assert answer.probabilities == pytest.approx(alone[n], abs=1e-6)
            assert (answer.map is None) == (n % 2 == 1) == (answer.like is None)


@pytest.mark.parametrize("name", ["logistic", "packaged"])
def test_it_says_what_predict_says_and_looks_where_evaluation_looked(
    name, inside, packaged, served, photos, tmp_path
):
    model = packaged if name == "packaged" else name
    command(["predict", model, *map(str, photos[:5]), "--out", str(tmp_path / "says.csv")])
    with open(tmp_path / "says.csv", newline="") as file:
        expected = [float(row["probability of square"]) for row in csv.DictReader(file)]
    if name == "packaged":
        served = Predictor(find_model(model), (), 4)
    assert served.looks and served.neighbours.problem is None
    answers = served.answers(decoded(photos[:5], served), [True] * 5)
    said = [answer.probabilities[1] for answer in answers]
    assert said == pytest.approx(expected, abs=1e-4)
    features = ArrayFolder("data/features/vgg16")
    own = np.stack([features[key] for key in keys(photos[:5])])
    held = logistic.load(inside / "models/logistic/model.npz")
    classes = np.array([answer.probabilities.argmax() for answer in answers])
    maps = gradcam.of_logistic(held, own, classes)
    maps = np.rint(maps / maps.max(axis=(1, 2), keepdims=True).clip(1e-30) * 255)
    assert np.abs(np.stack([a.map for a in answers]) - maps).max() <= 2


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_a_dense_subnet_looks_where_evaluation_says_it_looks(tmp_path, afresh, pooling):
    afresh()
    values = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype("float32")
    chosen = subnet(activation="relu", pooling=pooling)
    model = build_subnet(chosen, SHAPE, 3)
    save_model(model, tmp_path / "model.keras")
    classes = np.array([0, 1, 2, 0, 1])
    expected = gradcam.of_subnet(chosen, tmp_path / "model.keras", values, classes)
    looking = OfFeatures(chained([model], SHAPE, "float32"))
    assert looking.possible
    np.testing.assert_allclose(looking(values, classes), expected, rtol=1e-4, atol=1e-7)
    assert not OfFeatures(
        chained([build_subnet(chosen, (1, 1, 6), 3)], (1, 1, 6), "float32")
    ).possible


def keys(photos) -> list[str]:
    with open("data/index.csv", newline="") as file:
        by_path = {row["path"].split("/", 1)[1]: row["pixels"] for row in csv.DictReader(file)}
    return [by_path[f"{photo.parent.name}/{photo.name}"] for photo in photos]


def test_a_training_image_is_most_like_itself(inside, served, photos):
    with open("data/split.csv", newline="") as file:
        split = {row["pixels"]: row["split"] for row in csv.DictReader(file)}
    train = [p for p, key in zip(photos, keys(photos), strict=True) if split[key] == "train"][:3]
    for photo, answer in zip(
        train, served.answers(decoded(train, served), [True] * 3), strict=True
    ):
        told = served.neighbours.told(answer.like)
        assert told[0]["file"] == f"{photo.parent.name}/{photo.name}"
        assert told[0]["similarity"] == pytest.approx(1, abs=1e-4)
        assert told[0]["label"] == photo.parent.name
        assert told[0]["picture"].startswith("data:image/jpeg;base64,")
        cosines = [each["similarity"] for each in told]
        assert len(told) == 4 and cosines == sorted(cosines, reverse=True)


def test_without_data_there_are_no_training_images(packaged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Neighbours.find(find_model(packaged)).problem.startswith(
        "the training images are not here"
    )


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("data/features/vgg16/recipe.json", "float32", "bfloat16", "made by other weights"),
        ("data/images/recipe.json", "64", "65", "another size or colour than the model's"),
        ("data/images/recipe.json", "{", "", "data/images/recipe.json cannot be read: "),
        ("data/features/vgg16/recipe.json", "{", "[{", "vgg16/recipe.json cannot be read: "),
        ("data/features/vgg16/recipe.json", "", None, "vgg16/recipe.json cannot be read: "),
        ("data/split.csv", ",disc,", ",dish,", "the images in data/ are of other classes: 'dish'"),
    ],
)
def test_data_that_are_not_the_models_are_not_compared_with(
    after_training, tmp_path, monkeypatch, file, before, after, said
):
    shutil.copytree(after_training / "data", tmp_path / "data")
    shutil.copytree(after_training / "models", tmp_path / "models")
    shutil.copy(after_training / "params.yaml", tmp_path)
    path = tmp_path / file
    if after is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(before, after))
    monkeypatch.chdir(tmp_path)
    assert said in Neighbours.find(find_model("logistic")).problem


def test_a_packaged_model_is_compared_by_the_backbone_that_it_was_trained_with(
    after_training, packaged, tmp_path, monkeypatch
):
    """Of two whose features are here, the second in params.yaml."""
    shutil.copytree(after_training / "data", tmp_path / "data")
    shutil.copytree(tmp_path / "data/features/vgg16", tmp_path / "data/features/another")
    shutil.copy(tmp_path / "data/weights/vgg16.npz", tmp_path / "data/weights/another.npz")
    values = yaml.safe_load((after_training / "params.yaml").read_text())
    values["backbones"] = {"another": {**values["backbones"]["vgg16"]}, **values["backbones"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    found = Neighbours.find(find_model(packaged))
    assert (found.problem, found.name) == (None, "vgg16")


def test_a_packaged_model_of_another_make_answers_without_a_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(x))
    save_model(model, tmp_path / "other.keras")
    image = {"size": 16, "resampling": "nearest", "colour": "rgb"}
    with zipfile.ZipFile(tmp_path / "other.keras", "a") as archive:
        card = {"classes": ["a", "b"], "image": image, "settings": {}}
        archive.writestr(CARD, json.dumps(card))
    served = Predictor(find_model("other.keras"), (), 2)
    assert not served.looks
    grey = np.full((16, 16, 3), 128, "uint8")
    (answer,) = served.answers([grey], [True])
    assert answer.map is None
    assert answer.probabilities == pytest.approx(model.predict_on_batch(grey[None])[0], abs=1e-6)
