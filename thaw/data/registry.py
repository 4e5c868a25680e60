"""Look up the reader of a source by name: one module of thaw/sources/ for each kind."""

import importlib
from types import ModuleType
from typing import Any

import thaw.sources
from thaw.config.dataset import Source
from thaw.config.named import validate_named


def source_module(kind: str) -> ModuleType:
    """Return the module of this kind of source, which has `Parameters` and `collect`."""
    return importlib.import_module(f"thaw.sources.{kind}")


def validate_source(values: Any) -> Source:
    """Return `dataset.source`, validated by the module of its kind.

    Raises:
        UserError: The kind is unknown, or a value is invalid.
    """
    return validate_named(thaw.sources, "kind", values, "dataset", "source")
