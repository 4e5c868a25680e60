"""Plain convolutional networks: blocks of convolutions, each ended by a pooling."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from thaw.config.network import Activation, Network
from thaw.config.training import Positive, Share


class Parameters(Network):
    family: Literal["cnn"]
    filters: Annotated[list[Positive], Field(min_length=1)]
    """Of each block."""
    convolutions: list[Positive]
    """3x3, in each block; a 2x2 max-pooling ends it."""
    padding: Literal["valid", "same"]
    batch_norm: bool
    """After each convolution, which then has no bias."""
    activation: Activation
    negative_slope: Share
    """Below zero, for leaky_relu and prelu."""
    block_dropout: list[Share]
    """After each block's pooling."""
    pooling: Literal["flatten", "average"]
    """What makes a vector of the last feature map."""
    units: list[Positive]
    """Of each dense layer."""
    dropout: Share
    """After each dense layer."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        for name in ("convolutions", "block_dropout"):
            if len(getattr(self, name)) != len(self.filters):
                raise ValueError(f"{name} expects {len(self.filters)} values, one for each block")
        return self


def build(network: Parameters, shape: tuple[int, ...], classes: int):
    """From pixels (batch, height, width, channels) in 0..1 to the output layer.

    Parameters, for two classes at 150x150x3: small_cnn 1,212,513, wide_cnn 19,024,513; for ten at
    28x28x1: leaky_cnn 356,234.

    Source: Chollet, "Building powerful image classification models using very little data"
    (small_cnn).
    """
    from thaw.models.layers import apply_activation, output_layer
    from thaw.runtime.tensorflow import keras

    pixels = keras.Input(shape, name="pixels")
    x = pixels
    blocks = zip(network.filters, network.convolutions, network.block_dropout, strict=True)
    for filters, convolutions, dropout in blocks:
        for _ in range(convolutions):
            x = keras.layers.Conv2D(
                filters, 3, padding=network.padding, use_bias=not network.batch_norm
            )(x)  # (batch, h or h - 2, w or w - 2, filters)
            if network.batch_norm:
                x = keras.layers.BatchNormalization()(x)
            x = apply_activation(x, network.activation, network.negative_slope)
        x = keras.layers.MaxPooling2D(2, padding=network.padding)(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    if network.pooling == "average":
        x = keras.layers.GlobalAveragePooling2D()(x)  # (batch, filters)
    else:
        x = keras.layers.Flatten()(x)
    for units in network.units:
        x = apply_activation(
            keras.layers.Dense(units)(x), network.activation, network.negative_slope
        )
        if network.dropout:
            x = keras.layers.Dropout(network.dropout)(x)
    return keras.Model(pixels, output_layer(x, classes), name="cnn")
