"""`networks.NAME`: a full network trained on pixels."""

from typing import Literal

from thaw.config.training import Augmentation, Training

Activation = Literal["none", "relu", "leaky_relu", "prelu", "elu"]
"""What follows a layer's sums; thaw/models/activation.py."""


class Network(Training):
    """What every family shares. A family's own fields are declared beside its `build`, as a
    subclass named `Parameters` in stages/networks/FAMILY.py."""

    family: str
    augmentation: Augmentation
