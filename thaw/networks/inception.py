"""Stacks of inception modules, optionally with auxiliary classifiers."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from thaw.config.network import Network
from thaw.config.training import Positive

Branch = Literal["1x1", "3x3", "5x5", "pool"]


class Parameters(Network):
    """The parameters of a stack of inception modules."""

    family: Literal["inception"]
    """The network family."""
    modules: Positive
    """Number of modules, stacked."""
    branches: Annotated[list[Branch], Field(min_length=1)]
    """Branches of each module; their outputs are concatenated."""
    filters: Positive
    """Filters of each convolution."""
    bottleneck: bool
    """Add a 1x1 convolution before each 3x3 and 5x5 convolution and after the pooling; without it
    the module is the naive one of the paper."""
    downsample: bool
    """Add a 2x2 max-pooling between modules."""
    auxiliary: list[Positive]
    """The modules, counted from 1, that have an auxiliary classifier. Its layer is named
    auxiliary1, auxiliary2 and so on; `losses.TERM.output` refers to it. Auxiliary classifiers are
    used in training only and are not part of the saved model."""

    @model_validator(mode="after")
    def _before_last_module(self) -> Self:
        if any(number >= self.modules for number in self.auxiliary):
            raise ValueError(
                f"auxiliary expects numbers below {self.modules}, the last module, which has the "
                f"model's own output"
            )
        return self


def inception_module(x: Any, network: Parameters) -> Any:
    """Return the output of one module, (batch, h, w, channels of all branches).

    Args:
        x: tensor (batch, h, w, c).
        network: the parameters of the module.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions".
    """
    from thaw.runtime.tensorflow import keras

    def convolution(x: Any, size: int) -> Any:
        layer = keras.layers.Conv2D(network.filters, size, padding="same", activation="relu")
        return layer(x)  # (batch, h, w, filters)

    def branch(kind: str) -> Any:
        if kind == "pool":
            pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same")(x)  # (batch, h, w, c)
            return convolution(pooled, 1) if network.bottleneck else pooled
        size = int(kind[0])
        return convolution(convolution(x, 1) if network.bottleneck and size > 1 else x, size)

    outputs = [branch(kind) for kind in network.branches]
    return keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]


def build(network: Parameters, shape: tuple[int, ...], classes: int) -> Any:
    """Return a keras.Model from pixels (batch, height, width, channels) in 0..1 to the output
    layer, (batch, 1) for two classes and (batch, classes) for more. Auxiliary classifiers are
    further outputs of the same shape.

    At 32x32x3, with ten classes, one module with branches 3x3, 5x5 and pool, 64 filters and
    bottlenecks has 2,106,250 parameters.
    """
    from thaw.models.layers import output_layer
    from thaw.runtime.tensorflow import keras

    pixels = keras.Input(shape, name="pixels")  # (batch, h, w, channels)
    x = pixels
    auxiliary: list[Any] = []
    for number in range(1, network.modules + 1):
        x = inception_module(x, network)  # (batch, h, w, channels of all branches)
        if number in network.auxiliary:
            name = f"auxiliary{len(auxiliary) + 1}"
            auxiliary.append(output_layer(keras.layers.Flatten()(x), classes, name=name))
        if network.downsample and number < network.modules:
            x = keras.layers.MaxPooling2D(2)(x)  # (batch, h / 2, w / 2, channels)
    main = output_layer(keras.layers.Flatten()(x), classes)
    return keras.Model(pixels, [main, *auxiliary], name="inception")
