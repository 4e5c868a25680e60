import functools
import json

import numpy as np
import pandas as pd
import pytest

from stages.command import Refusal
from stages.networks.subnet import build
from stages.params.subnet import Dense
from stages.training import fit as module
from stages.training.batches import batches
from stages.training.fit import fit
from stages.training.saving import save_model

SHAPE = (2, 2, 8)
DENSE = {
    "kind": "dense",
    "features": "vgg16",
    "pooling": "flatten",
    "units": [16],
    "activation": "relu",
    "dropout": 0.5,
    "l1": 0.0,
    "l2": 0.0,
    "output": "auto",
    "optimizer": "adam",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "schedule": "constant",
    "batch_size": 16,
    "epochs": 4,
    "patience": None,
    "keep": "last",
    "class_weight": "none",
    "confidence_weight": False,
}


def data(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Features of two classes that overlap."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = random.normal(0, 1, (count, *SHAPE)) + 0.2 * labels[:, None, None, None]
    table = pd.DataFrame({"class": labels, "confidence": np.nan})
    return table, features.astype("float32")


def taken(features: np.ndarray, rows: np.ndarray, _) -> np.ndarray:
    return features[rows]


class Killed(BaseException):
    pass


@pytest.fixture
def train(afresh, tmp_path, monkeypatch):
    """A function that trains into tmp_path/NAME as a new process would; with `killed_at`, up to
    the end of that epoch."""

    def run(name, seed=0, killed_at=None, validated=True, start=None, scale=1, **changed):
        monkeypatch.setattr(module, "SECONDS_BETWEEN_CHECKPOINTS", 0)
        afresh(seed)
        parameters = Dense(**{**DENSE, **changed})
        model = build(parameters, SHAPE, 2)
        if start is not None:
            model.set_weights(start)
        folder = tmp_path / name
        folder.mkdir()
        sets = []  # training and validation data
        for count, order in ((60, seed), (40, None)):
            table, features = data(count, count)
            if order is None and not validated:
                table = table[:0]
            given = functools.partial(taken, features * scale)
            sets.append(batches(table, given, parameters, order, sigmoid=True))
        recipe = {"settings": {**parameters.model_dump(), "seed": seed}}
        with monkeypatch.context() as patch:
            if killed_at:
                save = module._Checkpoint.save

                def save_and_die(self, keeper):
                    save(self, keeper)
                    if keeper.epoch == killed_at:
                        raise Killed

                patch.setattr(module._Checkpoint, "save", save_and_die)
            record = fit(model, *sets, parameters, recipe, folder, from_trained=start is not None)
        save_model(model, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
        return model, record

    return run


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(train, tmp_path, content):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(name, seed=seed, epochs=2)
    first = content(tmp_path / "a")
    assert {"model.keras", "record.json", "live/metrics.json"} <= set(first)
    assert content(tmp_path / "b") == first
    assert content(tmp_path / "c")["model.keras"] != first["model.keras"]


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": "adamw", "schedule": "cosine", "keep": "best", "l2": 0.01},
        {"optimizer": "sgd", "patience": 2, "keep": "last", "learning_rate": 0.5},
    ],
)
def test_a_killed_training_goes_on_to_the_same_bytes(train, tmp_path, content, capfd, changed):
    train("whole", **changed)
    with pytest.raises(Killed):
        train("killed", killed_at=2, **changed)
    train("resumed", **changed)
    assert "going on after epoch 2" in capfd.readouterr().out
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_checkpoints_are_of_one_recipe_and_end_with_the_training(train, store, capfd):
    with pytest.raises(Killed):
        train("killed", killed_at=1, epochs=2)
    train("other", learning_rate=0.02, epochs=2)
    assert "going on" not in capfd.readouterr().out
    assert len(list((store / "training").iterdir())) == 1
    train("resumed", epochs=2)
    assert list((store / "training").iterdir()) == []


def test_best_keeps_the_epoch_of_the_lowest_validation_loss_and_patience_ends_the_rest(train):
    model, record = train("best", keep="best", learning_rate=0.05, epochs=30, patience=2)
    losses = [row["val_loss"] for row in record.history]
    assert record.kept == 1 + int(np.argmin(losses))
    assert len(losses) == record.epochs == record.kept + 2 < 30
    table, features = data(40, 40)
    predicted = model.predict(features, verbose=0)[:, 0]
    true = table["class"].to_numpy()
    loss = -np.mean(true * np.log(predicted) + (1 - true) * np.log(1 - predicted))
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_last_keeps_the_last_epoch_and_needs_no_validation_data(train):
    _, record = train("a", validated=False, patience=1, epochs=3)
    assert record.kept == record.epochs == 3 and "val_loss" not in record.history[0]


def test_best_without_validation_data_is_refused(train):
    with pytest.raises(Refusal, match="keep = 'best': expected 'last', since there is no validat"):
        train("a", keep="best", validated=False)


def test_a_trained_start_is_kept_when_no_epoch_is_better_even_after_a_kill(
    train, tmp_path, content
):
    start = train("start", epochs=1)[0].get_weights()
    worse = {"start": start, "keep": "best", "optimizer": "sgd", "learning_rate": 10.0, "epochs": 2}
    model, record = train("whole", **worse)
    assert record.kept == 0 and record.epochs == 2
    assert record.start["loss"] < min(row["val_loss"] for row in record.history)
    for kept, began in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(kept, began)
    with pytest.raises(Killed):
        train("killed", killed_at=1, **worse)
    train("resumed", **worse)
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_a_loss_that_is_not_finite_is_refused(train):
    with pytest.raises(Refusal, match=r"not finite after epoch 1. Lower learning_rate \(now 10\)"):
        train("a", optimizer="sgd", learning_rate=10.0, scale=1e30, dropout=0.0)


def test_the_record_and_the_curves_for_dvc_tell_of_every_epoch(train, tmp_path):
    model, record = train("a", epochs=2)
    assert record.kept == record.epochs == len(record.history) == 2
    assert record.parameters == record.trained == model.count_params() == 32 * 16 + 16 + 16 + 1
    assert record.settings["seed"] == 0 and record.settings["learning_rate"] == 0.01
    folder = tmp_path / "a" / "live" / "plots" / "metrics"
    for file, key in (("train/loss", "loss"), ("validation/accuracy", "val_accuracy")):
        curve = pd.read_csv(folder / f"{file}.tsv", sep="\t")
        np.testing.assert_allclose(curve.iloc[:, -1], [row[key] for row in record.history])
    last = json.loads((tmp_path / "a" / "live" / "metrics.json").read_text())
    assert last["train"]["loss"] == pytest.approx(record.history[-1]["loss"])
