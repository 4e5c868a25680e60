"""The training stages on a few small images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages import features, finetune, train_network, train_subnet, weights
from tests.fixtures.networks import RANDOM_VGG16
from tests.fixtures.training import TRAINING, swap_held_out_labels, term
from thaw.data.split_table import SplitTable
from thaw.errors import UserError
from thaw.evaluation.model_outputs import model_outputs
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.gradcam import GradCam
from thaw.models.loading import load_keras_model
from thaw.models.prediction import predict_batches
from thaw.runtime.tensorflow import keras
from thaw.storage.arrays import ArrayFolder, write_array_folder

pytestmark = pytest.mark.usefixtures("narrow")

STILL = {"horizontal_flip": False, "vertical_flip": False, "shear": 0.0, "zoom": 0.0}


def record(name: str) -> dict:
    with open(f"models/{name}/record.json") as file:
        return json.load(file)


GOOGLENET = {
    **TRAINING,
    "epochs": 2,
    "batch_size": 8,
    "family": "inception",
    "modules": 3,
    "branches": ["1x1", "3x3", "pool"],
    "filters": 2,
    "bottleneck": True,
    "downsample": True,
    "auxiliary": [1, 2],
    "losses": {
        "main": term(),
        "first": term(weight=0.3, output="auxiliary1"),
        "second": term(weight=0.3, output="auxiliary2"),
    },
    "augmentation": {**STILL, "zoom": 0.1},
}


def test_auxiliary_classifiers_train_and_are_not_in_the_saved_model(workplace, afresh):
    plain = {**GOOGLENET, "auxiliary": [], "losses": {"main": term()}}
    workplace(8, 3, 3, networks={"helped": GOOGLENET, "plain": plain})
    models = {}
    for name in ("helped", "plain"):
        afresh()
        train_network.main(name)
        models[name] = keras.saving.load_model(f"models/{name}/model.keras")
    helped, plain = models["helped"], models["plain"]
    assert [output.shape for output in helped.outputs] == [(None, 3)]
    every = [layer.name for layer in helped._flatten_layers()]
    assert "output" in every and not any("auxiliary" in name for name in every)
    assert helped.count_params() == plain.count_params() == record("helped")["parameters"]
    assert record("helped")["trained"] == helped.count_params()
    assert set(record("helped")["history"][0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    # three untrained heads have 1 + 0.3 + 0.3 times the loss of one; validation counts one
    first, alone = record("helped")["history"][0], record("plain")["history"][0]
    assert first["loss"] == pytest.approx(1.6 * np.log(3), rel=0.15)
    assert alone["loss"] == pytest.approx(np.log(3), rel=0.15)
    assert first["val_loss"] == pytest.approx(np.log(3), rel=0.15)
    # the saved model is the validated one
    images = ArrayFolder("data/images")
    rows = np.arange(0, 24, 3)
    predicted = helped.predict(images.select(images.keys)[rows], verbose=0)
    loss = -np.log(predicted[np.arange(8), rows % 3]).mean()
    assert record("helped")["history"][-1]["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert record("helped")["classes"] == ["kind0", "kind1", "kind2"]
    assert record("helped")["image"]["size"] == 8


def test_a_network_that_does_not_fit_the_images_raises_one_line(workplace):
    halved = {**GOOGLENET, "modules": 6, "auxiliary": [], "losses": {"main": term()}}
    workplace(8, 3, 3, networks={"deep": halved})
    with pytest.raises(
        UserError, match="networks.deep cannot be built for images of 8 x 8"
    ) as error:
        train_network.main("deep")
    assert "\n" not in str(error.value)


ONE_EPOCH = {**TRAINING, "epochs": 1, "batch_size": 8}
PIXELS = {
    **ONE_EPOCH,
    "family": "dense",
    "units": [2],
    "activation": "relu",
    "negative_slope": 0.0,
    "dropout": 0.0,
    "augmentation": STILL,
}


def test_a_network_uses_its_augmentations_that_the_dataset_allows(workplace, afresh):
    changes = {"horizontal_flip": True, "shear": 0.3, "zoom": 0.3, "vertical_flip": True}
    networks = {
        name: {**PIXELS, "augmentation": {**STILL, name: value}} for name, value in changes.items()
    }
    workplace(8, 3, 2, networks={"still": PIXELS, **networks})
    losses = {}
    for name in ("still", *changes):
        afresh()
        train_network.main(name)
        losses[name] = record(name)["history"][0]["loss"]
    assert losses.pop("vertical_flip") == losses["still"]  # not an allowed flip
    assert len(set(losses.values())) == len(losses)


BACKBONE = {**RANDOM_VGG16, "batch_size": 8}
SHARED = {**TRAINING, "epochs": 3, "batch_size": 8}
TOP = {
    **SHARED,
    "kind": "dense",
    "features": "base",
    "pooling": "average",
    "units": [16],
    "dropout": 0.0,
    "l2": 0.0,
    "output": "softmax",
}
END_TO_END = {
    **SHARED,
    "subnet": "top",
    "thaw_from": None,
    "cached": False,
    "augmented_views": 1,
    "augmentation": STILL,
    "test_time_augmentation": False,
}


LOGISTIC = {
    "kind": "logistic",
    "features": "base",
    "pooling": "average",
    "C": 1.0,
    "max_iter": 100,
    "class_weight": "none",
}
LEARNERS = {
    "network": ("networks", PIXELS, train_network),
    "dense": ("subnets", {**TOP, **ONE_EPOCH}, train_subnet),
    "logistic": ("subnets", LOGISTIC, train_subnet),
}


def weigh_by_confidence(value: bool) -> None:
    """Set dataset.confidence_weight in params.yaml."""
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters["dataset"]["confidence_weight"] = value
    Path("params.yaml").write_text(yaml.safe_dump(parameters))


@pytest.mark.parametrize("kind", LEARNERS)
def test_only_training_images_are_learned_weighted_by_label_confidence(workplace, afresh, kind):
    group, values, stage = LEARNERS[kind]
    models = {"weighted": values, "alike": values}
    workplace(8, 3, 2, **{group: models, "backbones": {"base": BACKBONE}})
    pixels = ArrayFolder("data/images")  # used as features too
    write_array_folder("data/features/base", pixels.keys, pixels.__getitem__, {"weights": "random"})

    def learnt(name: str) -> bytes:
        afresh()
        stage.main(name)
        (model,) = Path("models", name).glob("model.*")
        return model.read_bytes()

    weighted = learnt("weighted")
    weigh_by_confidence(False)
    assert learnt("alike") != weighted
    weigh_by_confidence(True)
    swap_held_out_labels()
    assert learnt("weighted") == weighted


CHANGED_ON = {
    "reinitialize_head": False,
    "epochs": 1,
    "batch_size": 16,  # one batch, so the epoch's loss is that of the start
    "augmentation": {**STILL, "shear": 0.3, "zoom": 0.3},
}


def loss_on_features(name: str, split: str) -> float:
    """Return the mean cross-entropy of a trained subnet with two softmax units."""
    rows, model = SplitTable().of(split), keras.saving.load_model(f"models/{name}/model.keras")
    features = ArrayFolder("data/features/base").select(rows["pixel_sha256"])
    predicted = model.predict_on_batch(features[np.arange(len(rows))])
    return -np.log(predicted[np.arange(len(rows)), rows["class"]]).mean()


def test_a_reinitialized_head_trained_end_to_end_equals_the_head_trained_on_features(
    workplace, extract_features, afresh
):
    workplace(
        32,
        3,
        2,
        backbones={"base": BACKBONE},
        subnets={"top": TOP},
        finetunes={
            "fresh": {**END_TO_END, "reinitialize_head": True},
            "on": {**END_TO_END, **CHANGED_ON},
        },
    )
    extract_features()
    for name, stage in (("top", train_subnet), ("fresh", finetune), ("on", finetune)):
        afresh()
        weigh_by_confidence(name != "on")
        stage.main(name)
    top, fresh, on = (record(name) for name in ("top", "fresh", "on"))
    assert fresh["start"] is None and on["start"] is not None
    assert fresh["trained"] == on["trained"] == top["trained"] == 64 * 16 + 16 + 16 * 2 + 2
    assert len(fresh["history"]) == len(top["history"]) == 3
    for row, expected in zip(fresh["history"], top["history"], strict=True):
        for split in ("", "val_"):
            assert row[f"{split}accuracy"] == expected[f"{split}accuracy"]
            assert row[f"{split}loss"] == pytest.approx(expected[f"{split}loss"], rel=1e-4)
    losses = [row["loss"] for row in top["history"]]
    assert losses[-1] < 0.8 * losses[0]  # otherwise there is nothing to compare
    assert on["start"]["loss"] == pytest.approx(top["history"][-1]["val_loss"], rel=1e-4)
    assert on["start"]["loss"] == pytest.approx(loss_on_features("top", "validation"), rel=1e-4)
    assert on["history"][0]["loss"] != pytest.approx(loss_on_features("top", "train"), rel=1e-3)
    ends = [
        keras.saving.load_model(f"models/{name}/model.keras").trainable_variables[-4:]
        for name in ("top", "fresh")
    ]
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def reading(layer: str) -> dict:
    """Return losses with a second term on a layer's output."""
    return {"losses": {"main": term(), "few": term("activity", weight=0.5, layer=layer)}}


THAWED = {
    **END_TO_END,
    "reinitialize_head": False,
    "thaw_from": "block5_conv1",
    "optimizer": {**TRAINING["optimizer"], "learning_rate": 1e-5},
}
TURNED = {
    "augmentation": {**STILL, "horizontal_flip": True, "vertical_flip": True},
    "test_time_augmentation": True,
}


@pytest.fixture
def trained_top(workplace, extract_features, once):
    """Make a project with a trained subnet and its fine-tunings.

    `cached` and `through` train alike: with the flips that the dataset allows, an image has two
    views, itself and its mirror image.
    """
    workplace(
        32,
        3,
        2,
        backbones={"base": BACKBONE},
        subnets={"top": TOP},
        finetunes={
            "cached": {**THAWED, **TURNED, "cached": True, "augmented_views": 4},
            "through": {**THAWED, **TURNED, "test_time_augmentation": False},
            "plain": {**THAWED, "cached": True},
            "reading": {**THAWED, "cached": True, **reading("hidden1")},
            "reading through": {**THAWED, **reading("hidden1")},
            "misreading": {**THAWED, **reading("hiden1")},
            "many": {
                **THAWED,
                "cached": True,
                "augmented_views": 64,
                "augmentation": {**STILL, "zoom": 0.2},
            },
        },
    )
    extract_features()
    once("trained top", lambda: train_subnet.main("top"), "models")


@pytest.fixture
def trained_cached(trained_top, once, afresh):
    """Make the project of `trained_top` with the fine-tuning `cached`."""
    afresh()
    once("trained cached", lambda: finetune.main("cached"), "models/cached")


@pytest.mark.parametrize("pooling", ["average", "average_max"])
def test_fine_tuning_starts_from_a_logistic_regression(
    workplace, extract_features, afresh, pooling
):
    """The start is kept where no epoch is better, as with this learning rate."""
    harmful = {**TRAINING["optimizer"], "learning_rate": 1.0}
    tuned = {**THAWED, "cached": True, "monitor": "accuracy", "keep": "best"}
    workplace(
        32,
        3,
        2,
        backbones={"base": BACKBONE},
        subnets={"top": {**LOGISTIC, "pooling": pooling}},
        finetunes={"tuned": tuned, "worse": {**tuned, **TURNED, "optimizer": harmful}},
    )
    extract_features()
    train_subnet.main("top")
    for name in ("tuned", "worse"):
        afresh()
        finetune.main(name)
    start = record("top")["history"][0]
    for name in ("tuned", "worse"):
        started, kept = record(name)["start"], record(name)["kept"]
        assert started["accuracy"] == start["val_accuracy"]
        assert started["loss"] == pytest.approx(start["val_loss"], rel=1e-3)
        history = record(name)["history"]
        accuracy = history[kept - 1]["val_accuracy"] if kept else started["accuracy"]
        assert accuracy >= started["accuracy"]
    tuned, worse = (
        keras.saving.load_model(f"models/{name}/model.keras") for name in ("tuned", "worse")
    )
    pixels = ArrayFolder("data/images").select(ArrayFolder("data/images").keys)
    maps = GradCam(tuned)(pixels, np.arange(len(pixels)) % 2)
    assert maps.shape[1:] == (2, 2) and np.isfinite(maps).all() and maps.any()
    assert GradCam(worse)(pixels, np.zeros(len(pixels), int)).shape == maps.shape
    # averaging over flips is chosen on validation data too
    validation = SplitTable().of("validation")
    for name in ("tuned", "worse"):
        predicted = model_outputs(name).probabilities(validation["pixel_sha256"].to_list())
        accuracy = (predicted.argmax(axis=1) == validation["class"]).mean()
        assert accuracy >= start["val_accuracy"]


def test_fine_tuning_on_cached_outputs_equals_fine_tuning_end_to_end(trained_cached, afresh):
    afresh()
    finetune.main("through")
    cached, through = record("cached"), record("through")
    assert (
        cached["trained"] == through["trained"] == 3 * (9 * 64 + 1) * 64 + record("top")["trained"]
    )
    assert cached["start"] == pytest.approx(through["start"], rel=1e-6)
    for row, expected in zip(cached["history"], through["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    assert cached["history"][0]["val_loss"] != cached["history"][-1]["val_loss"]
    # the saved model averages over the flips only with test-time augmentation
    averaged, single = (
        keras.saving.load_model(f"models/{name}/model.keras") for name in ("cached", "through")
    )
    images = ArrayFolder("data/images")
    pixels = images.select(images.keys)
    mirrored, upside_down = pixels[:, :, ::-1], pixels[:, ::-1]
    expected = averaged.predict_on_batch(pixels)
    np.testing.assert_allclose(averaged.predict_on_batch(mirrored), expected, atol=1e-5)
    assert np.abs(averaged.predict_on_batch(upside_down) - expected).max() > 1e-3
    each = [single.predict_on_batch(turned) for turned in (pixels, mirrored)]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(expected, np.mean(each, axis=0), atol=1e-4)


def test_a_fine_tuned_model_is_evaluated_on_cached_outputs(trained_cached, monkeypatch):
    images, model = ArrayFolder("data/images"), load_keras_model("models/cached/model.keras")
    pixels = images.select(images.keys)
    expected, classes = predict_batches(model, pixels, 8), np.zeros(len(pixels), int)
    outputs = model_outputs("cached")
    np.testing.assert_allclose(outputs.probabilities(images.keys), expected, atol=1e-5)
    maps = outputs.maps(images.keys, classes)
    np.testing.assert_allclose(maps, GradCam(model)(pixels, classes), atol=1e-5)
    # a second evaluation finds all outputs in the store
    monkeypatch.setattr(FrozenBackbone, "apply", None)
    assert (
        model_outputs("cached").probabilities(images.keys) == outputs.probabilities(images.keys)
    ).all()


def test_cached_outputs_of_other_weights_than_the_models_raise(trained_cached):
    with np.load("data/weights/base.npz") as held:
        np.savez("data/weights/base.npz", **{path: 1.1 * values for path, values in held.items()})
    with pytest.raises(UserError, match="model.keras and of cached outputs .* differ by 0"):
        model_outputs("cached").probabilities(ArrayFolder("data/images").keys)


def test_a_subnet_of_another_backbones_features_raises(trained_top):
    with np.load("data/weights/base.npz") as held:
        np.savez("data/weights/base.npz", **{path: 1.1 * values for path, values in held.items()})
    with pytest.raises(
        UserError, match="probabilities differ from those of top on its features by"
    ):
        finetune.main("cached")


def test_a_fine_tuning_loss_can_use_a_layer_of_its_subnet(trained_top, afresh):
    for name in ("plain", "reading", "reading through"):
        afresh()
        finetune.main(name)
    plain, cached, through = map(record, ("plain", "reading", "reading through"))
    for row, expected in zip(cached["history"], through["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    top = keras.saving.load_model("models/top/model.keras")
    read = keras.Model(top.inputs, top.get_layer("hidden1").output)
    held_out = SplitTable().of("validation")["pixel_sha256"]
    expected = ArrayFolder("data/features/base").select(held_out)[np.arange(len(held_out))]
    more = 0.5 * np.abs(read.predict_on_batch(expected)).mean()
    assert more > 0
    assert cached["start"]["loss"] == pytest.approx(plain["start"]["loss"] + more, rel=1e-4)
    saved = keras.saving.load_model("models/reading/model.keras")
    assert saved.output_shape == (None, 2)
    with pytest.raises(UserError, match="layer 'hiden1': .* Did you mean hidden1?"):
        finetune.main("misreading")


def test_a_thawed_batch_norm_is_not_trained(workplace, afresh):
    workplace(
        32,
        3,
        2,
        count=6,
        backbones={"base": {**BACKBONE, "application": "MobileNetV2"}},
        subnets={"top": {**TOP, "epochs": 1}},
        finetunes={"on": {**THAWED, "cached": True, "thaw_from": "Conv_1", "epochs": 1}},
    )
    for stage, name in ((weights, "base"), (features, "base"), (train_subnet, "top")):
        afresh()
        stage.main(name)
    afresh()
    finetune.main("on")
    convolution = 320 * 1280
    assert record("on")["trained"] == convolution + record("top")["trained"]


def test_too_little_disk_space_raises_before_any_output_is_computed(trained_top, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        UserError, match="needed in .* and 0.0 GB are free. Lower augmented_views, choose prec"
    ):
        finetune.main("many")
    assert not Path("models/many").exists()
