import functools
import json
import sys

import numpy as np
import pandas as pd
import pytest

from tests.fixtures.training import TRAINING
from thaw.config.subnet import Dense
from thaw.config.training import Training
from thaw.errors import UserError
from thaw.models.saving import save_model
from thaw.models.subnet import build_subnet
from thaw.runtime.tensorflow import keras, tf
from thaw.training import checkpoint
from thaw.training.batches import batches
from thaw.training.fit import compile_model, fit
from thaw.training.losses import LossTerms

SHAPE = (2, 2, 8)
DENSE = {
    **TRAINING,
    "kind": "dense",
    "features": "vgg16",
    "pooling": "flatten",
    "units": [16],
    "activation": "relu",
    "dropout": 0.5,
    "l1": 0.0,
    "l2": 0.0,
    "output": "auto",
}


ADAMW = {"name": "adamw", "learning_rate": 0.01, "epsilon": 1e-7, "weight_decay": 0.01}


def adam(learning_rate: float) -> dict:
    return {"name": "adam", "learning_rate": learning_rate, "epsilon": 1e-7}


def sgd(learning_rate: float) -> dict:
    return {"name": "sgd", "learning_rate": learning_rate, "momentum": 0.9}


def data(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows and features of two classes that overlap."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = random.normal(0, 1, (count, *SHAPE)) + 0.2 * labels[:, None, None, None]
    table = pd.DataFrame({"class": labels, "confidence": np.nan})
    return table, features.astype("float32")


def take_rows(features: np.ndarray, rows: np.ndarray, _) -> np.ndarray:
    return features[rows]


class Killed(BaseException):
    pass


@pytest.fixture
def train(afresh, tmp_path, monkeypatch):
    """Return a function that trains into tmp_path/NAME like a new process, up to the end of epoch
    `killed_at` if that is set."""

    def run(name, seed=0, killed_at=None, validated=True, start=None, scale=1, **changes):
        monkeypatch.setattr(checkpoint, "MIN_INTERVAL_SECONDS", 0)
        monkeypatch.setattr(checkpoint, "MAX_TIME_SHARE", float("inf"))
        afresh(seed)
        parameters = Dense(**{**DENSE, **changes})
        model = build_subnet(parameters, SHAPE, 2)
        if start is not None:
            model.set_weights(start)
        folder = tmp_path / name
        folder.mkdir()
        sets = []  # training and validation data
        for count, order in ((60, seed), (40, None)):
            table, features = data(count, count)
            if order is None and not validated:
                table = table[:0]
            inputs = functools.partial(take_rows, features * scale)
            sets.append(batches(table, inputs, parameters, order, sigmoid=True))
        recipe = {"settings": {**parameters.model_dump(), "seed": seed}}
        with monkeypatch.context() as patch:
            if killed_at:
                save = checkpoint.Checkpoint.save

                def save_and_die(self, progress, best_weights):
                    save(self, progress, best_weights)
                    if progress["epoch"] == killed_at:
                        raise Killed

                patch.setattr(checkpoint.Checkpoint, "save", save_and_die)
            terms = LossTerms(parameters)
            trainer = terms.trainer(model.inputs, terms.outputs(model))
            trained = start is not None
            record = fit(model, trainer, *sets, parameters, recipe, folder, from_trained=trained)
        save_model(model, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
        return model, record

    return run


def test_the_same_seed_trains_the_same_bytes_and_another_seed_does_not(train, tmp_path, content):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(name, seed=seed, epochs=2)
    first = content(tmp_path / "a")
    assert {"model.keras", "record.json", "live/metrics.json"} <= set(first)
    assert content(tmp_path / "b") == first
    assert content(tmp_path / "c")["model.keras"] != first["model.keras"]


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": ADAMW, "schedule": "cosine", "keep": "best", "l2": 0.01},
        {"optimizer": sgd(0.5), "patience": 2, "monitor": "accuracy"},
    ],
)
def test_a_killed_training_resumes_to_the_same_bytes(train, tmp_path, content, capfd, changed):
    train("whole", **changed)
    with pytest.raises(Killed):
        train("killed", killed_at=2, **changed)
    train("resumed", **changed)
    assert "resuming the interrupted training after epoch 2" in capfd.readouterr().out
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_a_checkpoint_belongs_to_one_recipe_and_is_deleted_after_the_training(train, store, capfd):
    with pytest.raises(Killed):
        train("killed", killed_at=1, epochs=2)
    train("other", optimizer=adam(0.02), epochs=2)
    assert "resuming" not in capfd.readouterr().out
    assert len(list((store / "training").iterdir())) == 1
    train("resumed", epochs=2)
    assert list((store / "training").iterdir()) == []


def test_a_damaged_checkpoint_is_not_used(train, store, capfd, content, tmp_path):
    train("whole", epochs=2)
    for damage in ("altered", "truncated"):
        with pytest.raises(Killed):
            train(f"killed {damage}", killed_at=1, epochs=2)
        (state,) = (store / "training").rglob("state.npz")
        saved = bytearray(state.read_bytes())
        saved[len(saved) // 2] ^= 1
        state.write_bytes(saved if damage == "altered" else saved[: len(saved) // 2])
        train(damage, epochs=2)
        output = capfd.readouterr().out
        assert "is damaged" in output and "resuming" not in output
        assert content(tmp_path / damage) == content(tmp_path / "whole")


def test_best_keeps_the_epoch_of_the_lowest_validation_loss_and_patience_stops(train):
    model, record = train("best", keep="best", optimizer=adam(0.05), epochs=30, patience=2)
    losses = [row["val_loss"] for row in record.history]
    assert record.kept == 1 + int(np.argmin(losses))
    assert len(losses) == record.epochs == record.kept + 2 < 30
    table, features = data(40, 40)
    predicted = model.predict(features, verbose=0)[:, 0]
    true = table["class"].to_numpy()
    loss = -np.mean(true * np.log(predicted) + (1 - true) * np.log(1 - predicted))
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_monitoring_accuracy_keeps_its_highest_epoch_and_patience_uses_it(train):
    changed = {"keep": "best", "monitor": "accuracy", "optimizer": adam(0.03), "epochs": 30}
    model, record = train("best", **changed, patience=3)
    accuracies = [row["val_accuracy"] for row in record.history]
    assert record.kept == 1 + int(np.argmax(accuracies))  # the first of equals
    assert record.kept != 1 + int(np.argmin([row["val_loss"] for row in record.history]))
    assert record.epochs == record.kept + 3 < 30
    table, features = data(40, 40)
    predicted = model.predict(features, verbose=0)[:, 0] > 0.5
    assert (predicted == table["class"]).mean() == pytest.approx(max(accuracies))


def test_a_trained_start_is_compared_by_the_monitored_metric(train):
    start = train("start", epochs=1)[0].get_weights()
    worse = {"keep": "best", "optimizer": sgd(10.0), "epochs": 2}
    _, record = train("on", start=start, monitor="accuracy", **worse)
    accuracies = [record.start["accuracy"], *(row["val_accuracy"] for row in record.history)]
    losses = [record.start["loss"], *(row["val_loss"] for row in record.history)]
    assert record.kept == int(np.argmax(accuracies)) != int(np.argmin(losses))


def test_last_keeps_the_last_epoch_and_needs_no_validation_data(train):
    _, record = train("a", validated=False, patience=1, epochs=3)
    assert record.kept == record.epochs == 3 and "val_loss" not in record.history[0]


def test_best_without_validation_data_raises(train):
    with pytest.raises(
        UserError, match="keep = 'best': expected 'last', since there is no validat"
    ):
        train("a", keep="best", validated=False)


def test_a_trained_start_is_kept_when_no_epoch_is_better_even_after_a_kill(
    train, tmp_path, content
):
    start = train("start", epochs=1)[0].get_weights()
    worse = {"start": start, "keep": "best", "optimizer": sgd(10.0), "epochs": 2}
    model, record = train("whole", **worse)
    assert record.kept == 0 and record.epochs == 2
    assert record.start["loss"] < min(row["val_loss"] for row in record.history)
    for kept, began in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(kept, began)
    with pytest.raises(Killed):
        train("killed", killed_at=1, **worse)
    train("resumed", **worse)
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_a_loss_that_is_not_finite_raises(train):
    with pytest.raises(
        UserError, match=r"not finite after epoch 1. Lower optimizer.learning_rate \(now 10\)"
    ):
        train("a", optimizer=sgd(10.0), scale=1e30, dropout=0.0)


def test_the_record_and_the_learning_curves_have_every_epoch(train, tmp_path):
    model, record = train("a", epochs=2)
    assert record.kept == record.epochs == len(record.history) == 2
    assert record.parameters == record.trained == model.count_params() == 32 * 16 + 16 + 16 + 1
    assert record.settings["seed"] == 0 and record.settings["optimizer"]["learning_rate"] == 0.01
    folder = tmp_path / "a" / "live" / "plots" / "metrics"
    for file, key in (("train/loss", "loss"), ("validation/accuracy", "val_accuracy")):
        curve = pd.read_csv(folder / f"{file}.tsv", sep="\t")
        np.testing.assert_allclose(curve.iloc[:, -1], [row[key] for row in record.history])
    last = json.loads((tmp_path / "a" / "live" / "metrics.json").read_text())
    assert last["train"]["loss"] == pytest.approx(record.history[-1]["loss"])


def test_tensorboard_files_are_written_outside_the_artifacts(train, tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("plain", epochs=2)
    train("watched.part", epochs=3, tensorboard=True)  # the name while it is written
    (tmp_path / "watched.part").rename(tmp_path / "watched")
    train("watched.part", epochs=2, tensorboard=True)
    written = content(tmp_path / "logs" / "watched")
    assert {name.split("/")[0] for name in written} == {"train", "validation"}
    tags = {"train": set(), "validation": set()}
    for name in written:
        for record in tf.data.TFRecordDataset(str(tmp_path / "logs" / "watched" / name)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                tags[name.split("/")[0]].add((value.tag, event.step, plugin))
    epochs = {step for tag, step, _ in tags["train"] if tag == "epoch_loss"}
    assert epochs == {0, 1}  # only of the last training
    for epoch in (0, 1):
        assert ("hidden1/kernel/histogram", epoch, "histograms") in tags["train"]
        assert ("epoch_loss", epoch, "scalars") in tags["train"] & tags["validation"]
    models = [content(tmp_path / name) for name in ("plain", "watched.part")]
    assert models[0]["model.keras"] == models[1]["model.keras"]
    assert set(models[0]) == set(models[1])


def test_tensorboard_raises_if_it_is_not_installed(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    with pytest.raises(
        UserError, match="tensorboard = True: .* is not installed. Install it: pip install tens"
    ):
        train("a", tensorboard=True)


@pytest.fixture
def compiled():
    """Return a function that compiles a network for ten batches per epoch."""

    def make(**changed) -> keras.Model:
        pixels = keras.Input((3,))
        model = keras.Model(pixels, keras.layers.Dense(1)(pixels))
        compile_model(model, Training(**{**TRAINING, **changed}), steps=10)
        return model

    return make


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", {0: 1.0, 20: 1.0, 40: 1.0}),
        ("exponential", {0: 1.0, 20: 0.1, 40: 0.01}),
        ("cosine", {0: 0.0, 2: 0.5, 4: 1.0, 22: 0.5, 40: 0.0}),
    ],
)
def test_the_learning_rate_follows_its_schedule_to_the_last_epoch(compiled, schedule, shares):
    optimizer = compiled(schedule=schedule, optimizer=adam(0.5), epochs=4).optimizer
    for step, share in shares.items():
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(0.5 * share, rel=1e-4, abs=1e-6)


def adam_steps(weight, gradients, decay=0.0):
    mean = square = 0.0
    for step, gradient in enumerate(gradients, start=1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weight = weight * (1 - 0.1 * decay) - rate * mean / (np.sqrt(square) + 3.0)
    return weight


def rmsprop_steps(weight, gradients):
    square = 0.0
    for gradient in gradients:
        square = 0.9 * square + 0.1 * gradient**2
        weight -= 0.1 * gradient / np.sqrt(square + 3.0)
    return weight


def sgd_steps(weight, gradients):
    velocity = 0.0
    for gradient in gradients:
        velocity = 0.9 * velocity - 0.1 * gradient
        weight += velocity
    return weight


# parameters, and a function of the weight after some steps with a learning rate of 0.1
OPTIMIZERS = {
    "adam": ({"epsilon": 3.0}, adam_steps),
    "adamw": ({"epsilon": 3.0, "weight_decay": 0.5}, functools.partial(adam_steps, decay=0.5)),
    "rmsprop": ({"epsilon": 3.0}, rmsprop_steps),
    "sgd": ({"momentum": 0.9}, sgd_steps),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_its_documented_steps(compiled, name):
    parameters, formula = OPTIMIZERS[name]
    optimizer = compiled(optimizer={"name": name, "learning_rate": 0.1, **parameters}).optimizer
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    for gradient in (2.0, -1.0):
        optimizer.apply([np.array([gradient], "float32")])
    assert float(weight[0]) == pytest.approx(formula(1.0, [2.0, -1.0]), rel=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [adam(0.01), ADAMW, {**adam(0.01), "name": "rmsprop"}, sgd(0.01)],
    ids=lambda optimizer: optimizer["name"],
)
def test_every_optimizer_trains(train, optimizer):
    _, record = train("a", optimizer=optimizer, dropout=0.0, epochs=3)
    losses = [row["loss"] for row in record.history]
    assert losses[-1] < losses[0]
