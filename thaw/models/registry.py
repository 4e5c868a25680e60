"""Network families by name: one module of thaw/networks/ for each."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import thaw.networks
from thaw.config.base import did_you_mean, validate
from thaw.config.network import Network
from thaw.errors import UserError


def network_families() -> list[str]:
    """Return the names that `networks.NAME.family` accepts, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(thaw.networks.__path__))


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
    families = network_families()
    family = values.get("family") if isinstance(values, dict) else None
    if family not in families:
        raise UserError(
            f"networks.{name}.family = {family!r}: expected one of {', '.join(families)}."
            f"{did_you_mean(family, families)}"
        )
    parameters: type[Network] = network_module(family).Parameters
    return validate(parameters, values, "networks", name)
