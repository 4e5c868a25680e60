"""Shallow networks: dense layers on the channels of each pixel, then one on all pixels."""

from typing import Annotated, Any, Literal

from pydantic import Field

from thaw.config.network import Activation, Network
from thaw.config.training import Positive, Share

Percentage = Annotated[str, Field(pattern=r"^(\d+\.)?\d+%$")]


class Parameters(Network):
    """The parameters of a shallow dense network."""

    family: Literal["dense"]
    """The network family."""
    units: Annotated[list[Positive | Percentage], Field(min_length=1)]
    """Units of each hidden layer: a number, or a percentage of the image's pixels such as '10%'."""
    activation: Activation
    """Activation function of the hidden layers."""
    negative_slope: Share
    """Slope below zero, of leaky_relu and, at the start of training, of prelu."""
    dropout: Share
    """Dropout rate after each hidden layer."""


def unit_count(units: int | str, pixels: int) -> int:
    """Return a number of units. A percentage of `pixels` is rounded down, to at least 1."""
    return units if isinstance(units, int) else max(1, int(pixels * float(units[:-1]) / 100))


def build(network: Parameters, shape: tuple[int, ...], classes: int) -> Any:
    """Return a keras.Model from pixels (batch, height, width, channels) in 0..1 to the output
    layer, (batch, 1) for two classes and (batch, classes) for more.

    At 28x28x1, with ten classes, one hidden layer of 78 units gives 611,686 parameters and two
    give 617,848.
    """
    from thaw.models.layers import apply_activation, output_layer
    from thaw.runtime.tensorflow import keras

    pixels = keras.Input(shape, name="pixels")  # (batch, h, w, channels)
    x = pixels
    for number, units in enumerate(network.units, start=1):
        width = unit_count(units, shape[0] * shape[1])
        x = keras.layers.Dense(width, name=f"hidden{number}")(x)  # (batch, h, w, width)
        x = apply_activation(x, network.activation, network.negative_slope)
        if network.dropout:
            x = keras.layers.Dropout(network.dropout)(x)
    x = keras.layers.Flatten()(x)  # (batch, h * w * width)
    return keras.Model(pixels, output_layer(x, classes), name="dense")
