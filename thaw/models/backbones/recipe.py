"""What shapes the outputs of a backbone's frozen part, told without starting TensorFlow."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thaw.config.backbone import Backbone
from thaw.storage.npz import file_digest


def frozen_recipe(backbone: Backbone, weights: str | Path, thaw_from: str | None) -> dict:
    """The recipe of the store's parts, see thaw/storage/store.py.

    Args:
        weights: the file that stage weights@B stored.
        thaw_from: the first layer that is not run; none: all are.
    """
    return {
        "application": backbone.application,
        "weights": file_digest(weights),
        "preprocessing": backbone.preprocessing,
        "precision": backbone.precision,
        "batch_size": backbone.batch_size,
        "until": thaw_from,
        "keras": version("keras"),
        "tensorflow": _tensorflow(),
    }


def _tensorflow() -> str:
    """The distribution, which tells the build for GPUs from the one without, and its version."""
    name = "tensorflow-cpu"
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"tensorflow {version('tensorflow')}"
