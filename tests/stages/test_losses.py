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
# predictions, labels and the probability of each true class
OUTPUTS = {"a sigmoid unit": (*SIGMOID, [0.9, 0.2, 0.5]), "softmax": (*SOFTMAX, [0.7, 0.4])}


@pytest.mark.parametrize("case", OUTPUTS)
def test_cross_entropy_is_the_negative_log_of_the_true_class_probability(case):
    predicted, true, p = OUTPUTS[case]
    losses = np.asarray(cross_entropy(true, predicted))
    assert losses.shape == (len(p),)
    np.testing.assert_allclose(losses, -np.log(p), rtol=1e-5)


@pytest.mark.parametrize("case", OUTPUTS)
def test_focal_down_weights_well_classified_images(case):
    predicted, true, p = OUTPUTS[case]
    p = np.array(p)
    np.testing.assert_allclose(focal(true, predicted), -((1 - p) ** 2) * np.log(p), rtol=1e-4)


def test_activity_is_the_mean_absolute_output_of_a_layer():
    layer_output = np.array([[[1.0, -3.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, -2.0]]], "float32")
    np.testing.assert_allclose(activity(None, None, layer_output), [1.0, 2.0])


def test_the_documented_loss_trains_with_the_documented_command(compose, workplace):
    _, documented = losses.__doc__.split("for a sigmoid output:\n")
    function, documented = documented.split("Then train with it:\n")
    command, _ = documented.split("To keep")
    words = shlex.split(command)
    assert words[:3] == ["dvc", "exp", "run"] and set(words[3::2]) == {"-S"}
    network = compose(*words[4::2])["networks"]["small_cnn"]
    network |= {"epochs": 1, "batch_size": 2}
    workplace(24, 1, 2, count=6, networks={"small_cnn": network})
    Path("stages").mkdir()
    source = Path(losses.__file__).read_text()
    Path("stages/losses.py").write_text(source + textwrap.dedent(function))
    train_network.main("small_cnn")
    record = json.loads(Path("models/small_cnn/record.json").read_text())
    rows = SplitTable().of("validation")
    model = keras.saving.load_model("models/small_cnn/model.keras")
    pixels = ArrayFolder("data/images").select(rows["pixel_sha256"])
    squares = (model.predict_on_batch(pixels)[:, 0] - rows["class"]) ** 2
    assert record["history"][0]["val_loss"] == pytest.approx(squares.mean(), rel=1e-4)
