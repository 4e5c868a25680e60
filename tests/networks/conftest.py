"""Networks as conf/network/ has them."""

import pytest

from stages.engine import keras
from stages.params.network import family, network


@pytest.fixture
def shipped(compose):
    """A function that builds a network of conf/network/, some values changed, for images of some
    shape and classes."""

    def make(option: str, shape: tuple, classes: int, **changed) -> keras.Model:
        made = compose("experiment=pixels_only", f"+network@networks.mine={option}")
        values = {**made["networks"]["mine"], **changed}
        keras.utils.clear_session(free_memory=False)
        return family(values["family"]).build(network(values, "mine"), shape, classes)

    return make


def layers(model: keras.Model) -> list[str]:
    """The layers after the input, each with what it is made with."""
    return [described(layer) for layer in model.layers[1:]]


def described(layer: keras.Layer) -> str:
    """A layer's kind and what it is made with."""
    return " ".join(
        [type(layer).__name__, *map(str, filter(None, map(layer.get_config().get, SHOWN)))]
    )


SHOWN = ("filters", "kernel_size", "padding", "pool_size", "units", "activation", "rate")


def trained(model: keras.Model) -> int:
    """How many numbers of `model` are learnt."""
    return sum(int(variable.value.shape.num_elements()) for variable in model.trainable_variables)
