"""Subnets: small networks on bottleneck features."""

from stages.engine import keras
from stages.networks.output import output
from stages.params.subnet import Dense


def build(subnet: Dense, shape: tuple[int, ...], classes: int) -> keras.Model:
    """A subnet from features (batch, height, width, channels) to the output layer.

    Source: Chollet, "Building powerful image classification models using very little data", for
    Flatten, Dense 256, Dropout, sigmoid.
    """
    regularizer = keras.regularizers.L1L2(subnet.l1, subnet.l2) if subnet.l1 or subnet.l2 else None
    features = keras.Input(shape, name="features")
    if subnet.pooling == "average":
        x = keras.layers.GlobalAveragePooling2D()(features)  # (batch, channels)
    else:
        x = keras.layers.Flatten()(features)  # (batch, height * width * channels)
    for number, units in enumerate(subnet.units, start=1):
        x = keras.layers.Dense(
            units,
            activation=subnet.activation,
            kernel_regularizer=regularizer,
            name=f"hidden{number}",
        )(x)
        if subnet.dropout:
            x = keras.layers.Dropout(subnet.dropout)(x)
    return keras.Model(features, output(x, classes, subnet.output), name="subnet")
