"""Networks as conf/network/ has them."""

import copy

import pytest

from stages.engine import keras
from stages.params.network import family, network


@pytest.fixture(scope="session")
def options():
    """What each option of conf/network/ composed to."""
    return {}


@pytest.fixture
def shipped(compose, options):
    """A function that builds a network of conf/network/, some values changed, for images of some
    shape and classes."""

    def make(option: str, shape: tuple, classes: int, **changed) -> keras.Model:
        if option not in options:
            made = compose("experiment=pixels_only", f"+network@networks.mine={option}")
            options[option] = made["networks"]["mine"]
        values = {**copy.deepcopy(options[option]), **changed}
        keras.utils.clear_session(free_memory=False)
        return family(values["family"]).build(network(values, "mine"), shape, classes)

    return make


def layers(model: keras.Model) -> list[str]:
    """The layers after the input, each with what it is made with."""
    return [
        " ".join(
            [type(layer).__name__, *map(str, filter(None, map(layer.get_config().get, SHOWN)))]
        )
        for layer in model.layers[1:]
    ]


SHOWN = ("filters", "kernel_size", "padding", "pool_size", "units", "activation", "rate")


def trained(model: keras.Model) -> int:
    """How many numbers of `model` are learnt."""
    return sum(int(variable.value.shape.num_elements()) for variable in model.trainable_variables)
