"""A small residual network."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.network import Network
from thaw.config.training import Positive


class Parameters(Network):
    family: Literal["resnet"]
    stem_filters: Positive
    """Filters of the first convolution, which halves the picture."""
    blocks: Annotated[list[Positive], Field(min_length=1)]
    """Filters of each residual block."""
    units: list[Positive]
    """Of each dense layer, relu."""


def build(network: Parameters, shape: tuple[int, ...], classes: int):
    """From pixels (batch, height, width, channels) in 0..1 to the output layer.

    At 28x28x1, with ten classes, 1,749,210 parameters, of which 1,748,154 are trained. Convolutions
    have no bias and start from a normal distribution of deviation 0.05.
    """
    from thaw.models.layers import output_layer
    from thaw.runtime.tensorflow import keras

    def convolution(x, filters: int, size: int, stride: int = 1):
        return keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(0.0, 0.05),
        )(x)

    def normal(x):
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))

    def block(x, filters: int):
        main = normal(convolution(x, filters, 1))
        main = normal(convolution(main, 2 * filters, 3))
        main = convolution(main, filters, 1)
        shortcut = convolution(normal(x), filters, 1)
        return keras.layers.ReLU()(keras.layers.Add()([main, shortcut]))

    pixels = keras.Input(shape, name="pixels")
    x = convolution(
        pixels, network.stem_filters, 3, stride=2
    )  # (batch, h / 2, w / 2, stem_filters)
    for filters in network.blocks:
        x = block(x, filters)  # (batch, h / 2, w / 2, filters)
    x = keras.layers.AveragePooling2D(2)(x)  # (batch, h / 4, w / 4, filters)
    x = keras.layers.Flatten()(x)
    for units in network.units:
        x = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model(pixels, output_layer(x, classes), name="resnet")
