"""Look up the reader of a source by name: one module of thaw/sources/ for each kind."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import thaw.sources
from thaw.config.base import did_you_mean, validate
from thaw.config.dataset import Source
from thaw.errors import UserError


def source_kinds() -> list[str]:
    """Return the names that `dataset.source.kind` accepts."""
    return sorted(module.name for module in pkgutil.iter_modules(thaw.sources.__path__))


def source_module(kind: str) -> ModuleType:
    """Return the module of this kind of source, which has `Parameters` and `collect`."""
    return importlib.import_module(f"thaw.sources.{kind}")


def validate_source(values: Any) -> Source:
    """Return `dataset.source`, validated by the module of its kind.

    Raises:
        UserError: The kind is unknown, or a value is invalid.
    """
    kinds = source_kinds()
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in kinds:
        raise UserError(
            f"dataset.source.kind = {kind!r}: expected one of {', '.join(kinds)}."
            f"{did_you_mean(kind, kinds)}"
        )
    return validate(source_module(kind).Parameters, values, "dataset", "source")
