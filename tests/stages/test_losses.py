import json
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest

from stages import losses, train_network
from stages.losses import activity, cross_entropy, focal
from thaw.data.split_table import SplitTable
from thaw.runtime.tensorflow import keras
from thaw.storage.arrays import ArrayFolder

SIGMOID = np.array([[0.9], [0.2], [0.5]], "float32"), np.array([[1], [1], [0]], "float32")
SOFTMAX = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], "float32"), np.array([0, 2], "int32")
OF_THE_TRUE = {"a sigmoid unit": (*SIGMOID, [0.9, 0.2, 0.5]), "softmax": (*SOFTMAX, [0.7, 0.4])}
"""Predictions, labels and the probability of each true class."""


@pytest.mark.parametrize("case", OF_THE_TRUE)
def test_cross_entropy_is_minus_the_log_of_the_true_class_probability(case):
    predicted, true, own = OF_THE_TRUE[case]
    given = np.asarray(cross_entropy(true, predicted))
    assert given.shape == (len(own),)
    np.testing.assert_allclose(given, -np.log(own), rtol=1e-5)


@pytest.mark.parametrize("case", OF_THE_TRUE)
def test_focal_counts_what_is_sure_less(case):
    predicted, true, own = OF_THE_TRUE[case]
    own = np.array(own)
    np.testing.assert_allclose(focal(true, predicted), -((1 - own) ** 2) * np.log(own), rtol=1e-4)


def test_activity_is_the_mean_size_of_what_a_layer_gives():
    read = np.array([[[1.0, -3.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, -2.0]]], "float32")
    np.testing.assert_allclose(activity(None, None, read), [1.0, 2.0])


def test_the_documented_loss_of_ones_own_trains_by_the_documented_command(compose, workplace):
    _, written = losses.__doc__.split("my_losses.py:\n")
    code, command = written.split("and name both:\n")
    given = shlex.split(command.replace("\\\n", ""))
    assert given[:3] == ["dvc", "exp", "run"] and set(given[3::2]) == {"-S"}
    choices = given[4::2]
    network = compose(*choices)["networks"]["small_cnn"]
    network |= {"epochs": 1, "batch_size": 2}
    workplace(24, 1, 2, count=6, networks={"small_cnn": network})
    Path("my_losses.py").write_text(textwrap.dedent(code))
    train_network.main("small_cnn")
    record = json.loads(Path("models/small_cnn/record.json").read_text())
    held_out = SplitTable().of("validation")
    model = keras.saving.load_model("models/small_cnn/model.keras")
    predicted = model.predict_on_batch(ArrayFolder("data/images").select(held_out["pixel_sha256"]))[:, 0]
    squares = (predicted - held_out["class"]) ** 2
    assert record["history"][0]["val_loss"] == pytest.approx(squares.mean(), rel=1e-4)
