"""A small convolutional network, trained on pixels from nothing."""

from typing import Annotated, Literal

from pydantic import Field

from stages.params.network import Network
from stages.params.training import Share

Positive = Annotated[int, Field(ge=1)]


class Parameters(Network):
    family: Literal["small_cnn"]
    filters: list[Positive]
    """Of each 3x3 convolution; a 2x2 max-pooling follows each."""
    units: Positive
    """Of the dense layer."""
    dropout: Share


def build(network: Parameters, shape: tuple[int, ...], classes: int):
    """From pixels (batch, height, width, channels) in 0..1 to the output layer.

    At 150x150x3 and two classes it has 1,212,513 parameters.

    Source: Chollet, "Building powerful image classification models using very little data".
    """
    from stages.engine import keras
    from stages.networks.output import output

    pixels = keras.Input(shape, name="pixels")
    x = pixels
    for filters in network.filters:
        x = keras.layers.Conv2D(filters, 3, activation="relu")(x)  # (batch, h - 2, w - 2, filters)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(network.units, activation="relu")(x)
    x = keras.layers.Dropout(network.dropout)(x)
    return keras.Model(pixels, output(x, classes), name="small_cnn")
