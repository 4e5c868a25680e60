"""Validate a section whose parameters a module declares: the kinds of source, the families."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from thaw.config.base import did_you_mean, validate
from thaw.errors import UserError


def validate_named(package: ModuleType, field: str, values: Any, *keys: str) -> Any:
    """Return a section, validated by `Parameters` of the module that one of its fields names.

    Args:
        package: has one module for each name.
        field: the field of the section that gives the module's name.
        values: the section, as read from params.yaml.
        keys: of the section in params.yaml, for messages.

    Returns:
        An instance of the module's `Parameters`.

    Raises:
        UserError: the name is unknown, or a value is invalid.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    name = values.get(field) if isinstance(values, dict) else None
    if name not in names:
        raise UserError(
            f"{'.'.join([*keys, field])} = {name!r}: expected one of {', '.join(names)}."
            f"{did_you_mean(name, names)}"
        )
    parameters = importlib.import_module(f"{package.__name__}.{name}").Parameters
    return validate(parameters, values, *keys)
