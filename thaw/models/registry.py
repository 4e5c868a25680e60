"""Network families by name: one module of thaw/networks/ for each."""

import importlib
from types import ModuleType
from typing import Any

import thaw.networks
from thaw.config.named import validate_named
from thaw.config.network import Network


def network_module(family: str) -> ModuleType:
    """Return the module of a family, which defines `Parameters` and `build`."""
    return importlib.import_module(f"thaw.networks.{family}")


def validate_network(values: Any, name: str) -> Network:
    """Return the section `networks.NAME`, validated by the `Parameters` of its family.

    Args:
        values: the section as read from params.yaml.
        name: of the network, for messages.

    Raises:
        UserError: the family is unknown, or a value is invalid.
    """
    return validate_named(thaw.networks, "family", values, "networks", name)
