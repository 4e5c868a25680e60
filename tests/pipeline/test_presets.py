"""Train every network, subnet and fine-tuning of every preset on images of its dataset's shape."""

import json
import shlex
import shutil

import numpy as np
import pytest
import yaml

from stages import features, finetune, train_subnet, weights
from tests.fixtures.training import ROOT
from thaw.config.subnet import validate_subnet
from thaw.models.registry import network_module, validate_network
from thaw.models.subnet import build_subnet
from thaw.runtime.tensorflow import keras
from thaw.training.fit import compile_model
from thaw.training.losses import LossTerms

CLASSES = {"solar_cells": 2, "cats_dogs": 2, "fashion_mnist": 10, "cifar10": 10}
CHANNELS = {"rgb": 3, "grey": 1}
FEATURES = {"VGG16": (32, 512)}  # downsampling factor and output channels
HEAVY = 100 * 100  # pixels of an image from which batches are cut to 4 images
SMALL = 64  # height and width of the images of fine-tunings


@pytest.fixture(scope="module")
def done():
    """Return the models that another preset has trained already."""
    return []


PRESETS = sorted(path.stem for path in ROOT.glob("conf/experiment/*.yaml"))
FINETUNED = ("cats_dogs", "little_data", "transfer")  # presets with fine-tunings


@pytest.mark.parametrize("preset", PRESETS)
def test_every_model_of_a_preset_trains(compose, done, preset):
    composed = compose(f"experiment={preset}")
    dataset = composed["dataset"]
    size, classes = dataset["image"]["size"], CLASSES[dataset["name"]]
    models = 0
    for name, values in composed["networks"].items():
        shape = (size, size, CHANNELS[dataset["image"]["colour"]])
        parameters = validate_network(values, name)
        models += 1
        if new(done, values, shape, classes):
            two_batches(
                network_module(values["family"]).build(parameters, shape, classes), parameters
            )
    for name, values in composed["subnets"].items():
        parameters = validate_subnet(values, name)
        models += 1
        if values["kind"] == "dense":
            factor, channels = FEATURES[composed["backbones"][values["features"]]["application"]]
            shape = (size // factor, size // factor, channels)
            if new(done, values, shape, classes):
                two_batches(build_subnet(parameters, shape, classes), parameters)
    assert models
    assert bool(composed["finetunes"]) == (preset in FINETUNED)


@pytest.mark.parametrize("preset", FINETUNED)
def test_every_fine_tuning_of_a_preset_trains(compose, workplace, afresh, preset):
    """Run the stages on backbones with random weights and small images, two steps of two."""
    composed = compose(f"experiment={preset}")
    dataset, finetunes = composed["dataset"], composed["finetunes"]
    dataset["image"]["size"] = SMALL
    names = {values["subnet"] for values in finetunes.values()}
    subnets = {name: composed["subnets"][name] for name in names}
    for values in [*finetunes.values(), *subnets.values()]:
        values |= {"epochs": 1, "batch_size": 2}
    for values in composed["backbones"].values():
        values |= {"weights": "random", "digest": None, "batch_size": 2}
    sections = {"backbones": composed["backbones"], "subnets": subnets, "finetunes": finetunes}
    workplace(SMALL, 3, 2, count=6, dataset=dataset, **sections)
    shutil.copytree(ROOT / "stages", "stages")
    for stage, names in (
        (weights, composed["backbones"]),
        (features, composed["backbones"]),
        (train_subnet, subnets),
        (finetune, finetunes),
    ):
        for name in names:
            afresh()
            stage.main(name)
    for name, values in finetunes.items():
        with open(f"models/{name}/record.json") as file:
            record = json.load(file)
        assert record["epochs"] == 1 and np.isfinite(record["history"][0]["loss"])
        subnet = keras.saving.load_model(f"models/{values['subnet']}/model.keras")
        model = keras.saving.load_model(f"models/{name}/model.keras")
        pixels = (None, SMALL, SMALL, 3)
        assert model.input_shape == pixels and model.output_shape == subnet.output_shape
        assert record["trained"] > subnet.count_params() or values["thaw_from"] is None


EXAMPLES = [
    line[2:].strip()
    for line in (ROOT / "conf/training/base.yaml").read_text().splitlines()
    if line.startswith("#   -S ")
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_trains(compose, example):
    overrides = [word for word in shlex.split(example) if word != "-S"]
    name, models = "lite0_gap256", "models=transfer"
    parameters = validate_subnet(compose(models, *overrides)["subnets"][name], name)
    assert parameters != validate_subnet(compose(models)["subnets"][name], name)
    two_batches(build_subnet(parameters, (2, 2, 8), 2), parameters)


def new(done: list, values: dict, *rest) -> bool:
    """Return whether `done` lacks this model, and add it."""
    shaping = {key: value for key, value in values.items() if key not in ("features", "epochs")}
    key = yaml.safe_dump([shaping, *map(repr, rest)])
    done.append(key)
    return done.count(key) == 1


def two_batches(model: keras.Model, parameters) -> None:
    """Train two batches and check that the loss is finite and every layer has changed."""
    terms = LossTerms(parameters)
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    compile_model(trainer, parameters, steps=2)
    trainer.run_eagerly = True  # half the time for so few batches
    shape = model.input_shape[1:]
    count = min(parameters.batch_size, 4) if shape[0] * shape[1] > HEAVY else parameters.batch_size
    random, units = np.random.default_rng(0), model.outputs[0].shape[-1]
    before = [np.array(variable) for variable in trainer.trainable_variables]
    for _ in range(2):
        x = random.random((count, *shape), "float32")
        y = random.integers(max(units, 2), size=count).astype("int32")
        if units == 1:
            y = y.astype("float32")[:, None]
        trained = trainer.train_on_batch([x], y, np.ones(count, "float32"), return_dict=True)
        assert set(trained) == {"loss", "accuracy"} and np.isfinite(trained["loss"])
    for variable, start in zip(trainer.trainable_variables, before, strict=True):
        assert np.any(np.asarray(variable) != start), f"{variable.path} has not changed"
