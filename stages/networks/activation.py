"""What follows a layer's sums."""

from stages.engine import keras


def activated(x, kind: str, slope: float):
    """A tensor (batch, ..., channels) after its activation, the same shape.

    Args:
        kind: none, relu, leaky_relu, prelu (which learns a slope for each channel) or elu.
        slope: below zero, of leaky_relu, and where prelu starts.
    """
    if kind == "none":
        return x
    if kind == "leaky_relu":
        return keras.layers.LeakyReLU(slope)(x)
    if kind == "prelu":
        start = keras.initializers.Constant(slope)
        return keras.layers.PReLU(start, shared_axes=list(range(1, len(x.shape) - 1)))(x)
    return keras.layers.Activation(kind)(x)
