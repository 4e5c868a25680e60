"""A small residual network."""

from typing import Annotated, Any, Literal

from pydantic import Field

from thaw.config.network import Network
from thaw.config.training import Positive


class Parameters(Network):
    """The parameters of a small residual network."""

    family: Literal["resnet"]
    """The network family."""
    stem_filters: Positive
    """Filters of the first convolution, which has a stride of 2."""
    blocks: Annotated[list[Positive], Field(min_length=1)]
    """Filters of each residual block."""
    units: list[Positive]
    """Units of each dense layer, followed by relu."""


def build(network: Parameters, shape: tuple[int, ...], classes: int) -> Any:
    """Return a keras.Model from pixels (batch, height, width, channels) in 0..1 to the output
    layer, (batch, 1) for two classes and (batch, classes) for more.

    At 28x28x1, with ten classes, it has 1,749,210 parameters, 1,748,154 of them trainable.
    Convolutions have no bias and are initialized from a normal distribution with standard
    deviation 0.05.
    """
    from thaw.models.layers import output_layer
    from thaw.runtime.tensorflow import keras

    def convolution(x: Any, filters: int, size: int, stride: int = 1) -> Any:
        return keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(0.0, 0.05),
        )(x)  # (batch, h / stride, w / stride, filters)

    def normalized(x: Any) -> Any:
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))  # same shape

    def block(x: Any, filters: int) -> Any:
        main = normalized(convolution(x, filters, 1))  # (batch, h, w, filters)
        main = normalized(convolution(main, 2 * filters, 3))  # (batch, h, w, 2 * filters)
        main = convolution(main, filters, 1)  # (batch, h, w, filters)
        shortcut = convolution(normalized(x), filters, 1)  # (batch, h, w, filters)
        return keras.layers.ReLU()(keras.layers.Add()([main, shortcut]))

    pixels = keras.Input(shape, name="pixels")  # (batch, h, w, channels)
    x = convolution(pixels, network.stem_filters, 3, stride=2)  # (batch, h/2, w/2, stem_filters)
    for filters in network.blocks:
        x = block(x, filters)  # (batch, h/2, w/2, filters)
    x = keras.layers.AveragePooling2D(2)(x)  # (batch, h/4, w/4, filters)
    x = keras.layers.Flatten()(x)  # (batch, h/4 * w/4 * filters)
    for units in network.units:
        x = keras.layers.Dense(units, activation="relu")(x)  # (batch, units)
    return keras.Model(pixels, output_layer(x, classes), name="resnet")
