"""Transfer learning on images as a declarative pipeline.

The public API, loaded when it is first used: `load_model`, `Model`, `extract_features`,
`read_metrics`, `read_predictions` and `UserError`. See thaw/api.py for its stability.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thaw.api import Model, extract_features, load_model, read_metrics, read_predictions
    from thaw.errors import UserError

__all__ = [
    "Model",
    "UserError",
    "extract_features",
    "load_model",
    "read_metrics",
    "read_predictions",
]


def __getattr__(name: str) -> Any:
    """Import a name of the public API when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'thaw' has no attribute {name!r}")
    return getattr(
        importlib.import_module("thaw.errors" if name == "UserError" else "thaw.api"), name
    )


def __dir__() -> list[str]:
    """Return the names of the public API."""
    return __all__
