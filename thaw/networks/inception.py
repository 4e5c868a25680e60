"""Stacks of inception modules, with auxiliary classifiers where they are asked for."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from thaw.config.network import Network
from thaw.config.training import Positive

Branch = Literal["1x1", "3x3", "5x5", "pool"]


class Parameters(Network):
    family: Literal["inception"]
    modules: Positive
    """How many, one on the other."""
    branches: Annotated[list[Branch], Field(min_length=1)]
    """Of each module; their outputs are concatenated."""
    filters: Positive
    """Of each convolution."""
    bottleneck: bool
    """A 1x1 convolution before each 3x3 and 5x5 and after the pooling; without it the module is
    the naive one."""
    downsample: bool
    """A 2x2 max-pooling between modules."""
    auxiliary: list[Positive]
    """The modules, counted from 1, with a classifier of their own, a layer auxiliary1, auxiliary2
    and so on for `losses.TERM.output`. They serve training only and are not in the saved model."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if any(number >= self.modules for number in self.auxiliary):
            raise ValueError(
                f"auxiliary expects numbers below {self.modules}, the last module, which has the "
                f"model's own output"
            )
        return self


def module(x, network: Parameters):
    """One module on a tensor (batch, h, w, c): (batch, h, w, filters of all branches).

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions".
    """
    from thaw.runtime.tensorflow import keras

    def convolution(x, size: int):
        return keras.layers.Conv2D(network.filters, size, padding="same", activation="relu")(x)

    def branch(kind: str):
        if kind == "pool":
            pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same")(x)
            return convolution(pooled, 1) if network.bottleneck else pooled
        size = int(kind[0])
        return convolution(convolution(x, 1) if network.bottleneck and size > 1 else x, size)

    made = [branch(kind) for kind in network.branches]
    return keras.layers.Concatenate()(made) if len(made) > 1 else made[0]


def build(network: Parameters, shape: tuple[int, ...], classes: int):
    """From pixels (batch, height, width, channels) in 0..1 to the output layer, auxiliary
    classifiers as further outputs.

    At 32x32x3, with ten classes, one module of branches 3x3, 5x5 and pool with 64 filters, with bottlenecks,
    has 2,106,250 parameters.
    """
    from thaw.models.layers import output_layer
    from thaw.runtime.tensorflow import keras

    pixels = keras.Input(shape, name="pixels")
    x, auxiliary = pixels, []
    for number in range(1, network.modules + 1):
        x = module(x, network)
        if number in network.auxiliary:
            name = f"auxiliary{len(auxiliary) + 1}"
            auxiliary.append(output_layer(keras.layers.Flatten()(x), classes, name=name))
        if network.downsample and number < network.modules:
            x = keras.layers.MaxPooling2D(2)(x)
    own = output_layer(keras.layers.Flatten()(x), classes)
    return keras.Model(pixels, [own, *auxiliary], name="inception")
