"""Shallow networks that look at each pixel alone, then at all of them at once."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.network import Activation, Network
from thaw.config.training import Positive, Share

Percentage = Annotated[str, Field(pattern=r"^(\d+\.)?\d+%$")]


class Parameters(Network):
    family: Literal["dense"]
    units: Annotated[list[Positive | Percentage], Field(min_length=1)]
    """Of each hidden layer: a number, or a percentage of the image's pixels, as '10%'."""
    activation: Activation
    negative_slope: Share
    """Below zero, for leaky_relu and prelu."""
    dropout: Share
    """After each hidden layer."""


def count(units: int | str, pixels: int) -> int:
    """A number of units; a percentage is of `pixels`, truncated, and at least 1."""
    return units if isinstance(units, int) else max(1, int(pixels * float(units[:-1]) / 100))


def build(network: Parameters, shape: tuple[int, ...], classes: int):
    """From pixels (batch, height, width, channels) in 0..1 to the output layer.

    A hidden layer acts on each pixel's channels: (batch, height, width, units). At 28x28x1, with
    ten classes, one layer of 78 units has 611,686 parameters, two have 617,848.
    """
    from thaw.models.layers import apply_activation, output_layer
    from thaw.runtime.tensorflow import keras

    pixels = keras.Input(shape, name="pixels")
    x = pixels
    for number, units in enumerate(network.units, start=1):
        width = count(units, shape[0] * shape[1])
        x = keras.layers.Dense(width, name=f"hidden{number}")(x)
        x = apply_activation(x, network.activation, network.negative_slope)
        if network.dropout:
            x = keras.layers.Dropout(network.dropout)(x)
    return keras.Model(pixels, output_layer(keras.layers.Flatten()(x), classes), name="dense")
