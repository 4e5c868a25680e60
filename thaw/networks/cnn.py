"""Plain convolutional networks: blocks of convolutions, each followed by max-pooling."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from thaw.config.network import Activation, Network
from thaw.config.training import Positive, Share


class Parameters(Network):
    """The parameters of a plain convolutional network."""

    family: Literal["cnn"]
    """The network family."""
    filters: Annotated[list[Positive], Field(min_length=1)]
    """Filters of each block's convolutions."""
    convolutions: list[Positive]
    """Number of 3x3 convolutions in each block; a 2x2 max-pooling follows them."""
    padding: Literal["valid", "same"]
    """Padding of the convolutions: none, or zeros that keep height and width."""
    batch_norm: bool
    """Normalize the output of each convolution, which then has no bias."""
    activation: Activation
    """Activation function of convolutions and dense layers."""
    negative_slope: Share
    """Slope below zero, of leaky_relu and, at the start of training, of prelu."""
    block_dropout: list[Share]
    """Dropout rate after each block's pooling."""
    pooling: Literal["flatten", "average"]
    """How the last feature map becomes a vector."""
    units: list[Positive]
    """Units of each dense layer."""
    dropout: Share
    """Dropout rate after each dense layer."""

    @model_validator(mode="after")
    def _one_value_per_block(self) -> Self:
        for name in ("convolutions", "block_dropout"):
            if len(getattr(self, name)) != len(self.filters):
                raise ValueError(f"{name} expects {len(self.filters)} values, one for each block")
        return self


def build(network: Parameters, shape: tuple[int, ...], classes: int) -> Any:
    """Return a keras.Model from pixels (batch, height, width, channels) in 0..1 to the output
    layer, (batch, 1) for two classes and (batch, classes) for more.

    For two classes at 150x150x3, small_cnn has 1,212,513 parameters and wide_cnn 19,024,513. For
    ten classes at 28x28x1, leaky_cnn has 356,234.

    Source: Chollet, "Building powerful image classification models using very little data"
    (small_cnn).
    """
    from thaw.models.layers import apply_activation, output_layer
    from thaw.runtime.tensorflow import keras

    slope = network.negative_slope
    pixels = keras.Input(shape, name="pixels")  # (batch, h, w, channels)
    x = pixels
    blocks = zip(network.filters, network.convolutions, network.block_dropout, strict=True)
    for filters, convolutions, dropout in blocks:
        for _ in range(convolutions):
            convolution = keras.layers.Conv2D(
                filters, 3, padding=network.padding, use_bias=not network.batch_norm
            )
            x = convolution(x)  # (batch, h, w, filters); padding "valid": h - 2, w - 2
            if network.batch_norm:
                x = keras.layers.BatchNormalization()(x)
            x = apply_activation(x, network.activation, slope)
        pooling = keras.layers.MaxPooling2D(2, padding=network.padding)
        x = pooling(x)  # (batch, h / 2, w / 2, filters); "same" rounds up, "valid" down
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    if network.pooling == "average":
        x = keras.layers.GlobalAveragePooling2D()(x)  # (batch, filters)
    else:
        x = keras.layers.Flatten()(x)  # (batch, h * w * filters)
    for units in network.units:
        x = keras.layers.Dense(units)(x)  # (batch, units)
        x = apply_activation(x, network.activation, slope)
        if network.dropout:
            x = keras.layers.Dropout(network.dropout)(x)
    return keras.Model(pixels, output_layer(x, classes), name="cnn")
