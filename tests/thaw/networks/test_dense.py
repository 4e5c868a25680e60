import pytest

from tests.fixtures.networks import layers
from thaw.errors import UserError
from thaw.networks.dense import unit_count

PIXELS = (28, 28, 1)
ONE_LAYER = {7: 54_904, 78: 611_686, 392: 3_074_074, 784: 6_148_138}
PERCENTAGES = {7: "1%", 78: "10%", 392: "50%", 784: "100%"}


@pytest.mark.parametrize("units", ONE_LAYER)
def test_one_hidden_layer_has_the_published_parameter_counts(shipped, units):
    for value in (units, PERCENTAGES[units]):
        model = shipped("dense", PIXELS, 10, units=[value])
        assert model.count_params() == ONE_LAYER[units]
        assert model.get_layer("hidden1").count_params() == 2 * units
        assert model.get_layer("output").count_params() == 784 * units * 10 + 10


@pytest.mark.parametrize(("units", "parameters"), [(78, 617_848), (392, 3_228_130)])
def test_two_hidden_layers_have_the_published_parameter_counts(shipped, units, parameters):
    for value in (units, PERCENTAGES[units]):
        model = shipped("dense", PIXELS, 10, units=[value, value])
        assert model.count_params() == parameters
        assert model.get_layer("hidden2").count_params() == units * units + units


def test_a_percentage_is_rounded_down_to_at_least_one_unit():
    assert [unit_count(share, 784) for share in PERCENTAGES.values()] == list(PERCENTAGES)
    assert [unit_count(share, 784) for share in ("0.1%", "12.5%", "0.3%")] == [1, 98, 2]
    assert unit_count(12, 784) == 12


def test_it_has_the_published_layers_and_initializers(shipped):
    model = shipped("dense", PIXELS, 10)
    assert layers(model) == [
        *("Dense 78 linear", "Activation relu", "Dropout 0.5"),
        *("Dense 78 linear", "Activation relu", "Dropout 0.5"),
        *("Flatten", "Dense 10 softmax"),
    ]
    assert model.get_layer("hidden1").output.shape == (None, 28, 28, 78)
    initializers = {
        (type(layer.kernel_initializer).__name__, type(layer.bias_initializer).__name__)
        for layer in model.layers
        if hasattr(layer, "kernel")
    }
    assert initializers == {("GlorotUniform", "Zeros")}


ACTIVATIONS = {
    "none": None,
    "relu": "Activation relu",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "elu": "Activation elu",
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_follows_every_hidden_layer(shipped, activation):
    model = shipped("dense", PIXELS, 10, units=[5, 6], activation=activation, dropout=0.0)
    after = [ACTIVATIONS[activation]] if ACTIVATIONS[activation] else []
    hidden = ["Dense 5 linear", *after, "Dense 6 linear", *after]
    assert layers(model) == [*hidden, "Flatten", "Dense 10 softmax"]
    slopes = 5 + 6 if activation == "prelu" else 0
    assert model.count_params() == 5 * 2 + 6 * 6 + 784 * 6 * 10 + 10 + slopes


@pytest.mark.parametrize("units", [["10"], ["ten%"], ["-1%"], [0], []])
def test_units_that_are_neither_a_number_nor_a_percentage_are_rejected(shipped, units):
    with pytest.raises(UserError, match="^networks.mine.units"):
        shipped("dense", PIXELS, 10, units=units)
