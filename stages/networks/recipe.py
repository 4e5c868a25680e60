"""What shapes the outputs of a backbone's frozen part, told without starting TensorFlow."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from stages.params.backbone import Backbone


def frozen_recipe(backbone: Backbone, weights: str | Path, thaw_from: str | None) -> dict:
    """The recipe of the store's parts, see stages/store.py.

    Args:
        weights: the file that stage weights@B stored.
        thaw_from: the first layer that is not run; none: all are.
    """
    with np.load(weights) as held:
        found = digest({path: held[path] for path in held.files})
    return {
        "application": backbone.application,
        "weights": found,
        "preprocessing": backbone.preprocessing,
        "precision": backbone.precision,
        "batch_size": backbone.batch_size,
        "until": thaw_from,
        "keras": version("keras"),
        "tensorflow": _tensorflow(),
    }


def digest(held: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and values of weights, whatever file they came in."""
    seen = hashlib.sha256()
    for path, values in held.items():
        seen.update(f"{path} {values.shape}\n".encode())
        seen.update(np.ascontiguousarray(values, "<f4"))
    return seen.hexdigest()


def _tensorflow() -> str:
    try:
        return version("tensorflow-cpu")
    except PackageNotFoundError:
        return version("tensorflow")
