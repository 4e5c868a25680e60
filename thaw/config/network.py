"""`networks.NAME`: a full network trained on pixels."""

from typing import Literal

from thaw.config.training import Augmentation, Training

# Activation functions; thaw/models/activation.py builds them.
Activation = Literal["none", "relu", "leaky_relu", "prelu", "elu"]


class Network(Training):
    """The parameters that all network families share.

    Each family declares its other parameters beside its `build`, as a subclass named `Parameters`
    in thaw/networks/FAMILY.py.
    """

    family: str
    """The network family: a module of thaw/networks/."""
    augmentation: Augmentation
    """Random changes of the training images."""
