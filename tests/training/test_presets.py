"""Every preset's networks and dense subnets, as its data set has the images, train."""

import shlex

import numpy as np
import pytest
import yaml

from stages.engine import keras
from stages.networks import subnet as subnets
from stages.params.network import family, network
from stages.params.subnet import subnet
from stages.training.fit import compile_model
from stages.training.terms import Terms
from tests.training.conftest import ROOT

CLASSES = {"solar_cells": 2, "cats_dogs": 2, "fashion_mnist": 10, "cifar10": 10}
CHANNELS = {"rgb": 3, "grey": 1}
FEATURES = {"VGG16": (32, 512)}
"""What a network divides the size of an image by, and the channels it makes of it."""
HEAVY = 100 * 100
"""Pixels of an image, from which on batches are cut to 4."""


@pytest.fixture(scope="module")
def done():
    """The models that another preset has trained already."""
    return []


@pytest.mark.parametrize("preset", sorted(p.stem for p in ROOT.glob("conf/experiment/*.yaml")))
def test_every_model_of_a_preset_trains(compose, done, preset):
    composed = compose(f"experiment={preset}")
    dataset = composed["dataset"]
    size, classes = dataset["image"]["size"], CLASSES[dataset["name"]]
    made = 0
    for name, values in composed["networks"].items():
        shape = (size, size, CHANNELS[dataset["image"]["colour"]])
        parameters = network(values, name)
        made += 1
        if new(done, values, shape, classes):
            two_batches(family(values["family"]).build(parameters, shape, classes), parameters)
    for name, values in composed["subnets"].items():
        parameters = subnet(values, name)
        made += 1
        if values["kind"] == "dense":
            by, channels = FEATURES[composed["backbones"][values["features"]]["application"]]
            shape = (size // by, size // by, channels)
            if new(done, values, shape, classes):
                two_batches(subnets.build(parameters, shape, classes), parameters)
    assert made


EXAMPLES = [
    line[2:].strip()
    for line in (ROOT / "conf/training/base.yaml").read_text().splitlines()
    if line.startswith("#   -S ")
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_trains(compose, example):
    given = [part for part in shlex.split(example) if part != "-S"]
    parameters = subnet(compose(*given)["subnets"]["fc256"], "fc256")
    assert parameters != subnet(compose()["subnets"]["fc256"], "fc256")
    two_batches(subnets.build(parameters, (2, 2, 8), 2), parameters)


def new(done: list, values: dict, *rest) -> bool:
    """Whether this model is none of those in `done`, where it is now."""
    shaping = {key: value for key, value in values.items() if key not in ("features", "epochs")}
    key = yaml.safe_dump([shaping, *map(repr, rest)])
    done.append(key)
    return done.count(key) == 1


def two_batches(model: keras.Model, parameters) -> None:
    """Train two batches, after which the loss is finite and every layer has changed."""
    terms = Terms(parameters)
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    compile_model(trainer, parameters, steps=2)
    trainer.run_eagerly = True  # half the time, for so few
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
