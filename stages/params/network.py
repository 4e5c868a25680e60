"""`networks.NAME`: a full network trained on pixels."""

import importlib
from typing import Literal

from stages.command import Refusal
from stages.params.base import check, declaring, nearest
from stages.params.training import Augmentation, Training

Activation = Literal["none", "relu", "leaky_relu", "prelu", "elu"]
"""What follows a layer's sums; stages/networks/activation.py."""


class Network(Training):
    """What every family shares. A family's own fields are declared beside its `build`, as a
    subclass named `Parameters` in stages/networks/FAMILY.py."""

    family: str
    augmentation: Augmentation


def family(name: str):
    """The module that builds networks of this family."""
    return importlib.import_module(f"stages.networks.{name}")


def network(values, name: str) -> Network:
    """`networks.NAME`, checked by the family that it names.

    Raises:
        Refusal: there is no such family, or it refuses a value.
    """
    families = declaring("networks")
    given = values.get("family") if isinstance(values, dict) else None
    if given not in families:
        raise Refusal(
            f"networks.{name}.family = {given!r}: expected one of {', '.join(families)}."
            f"{nearest(given, families)}"
        )
    return check(family(given).Parameters, values, "networks", name)
