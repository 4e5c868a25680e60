"""The recipe of a frozen backbone's outputs in the store, without starting TensorFlow."""

import functools
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thaw.config.backbone import Backbone
from thaw.storage.npz import file_digest


def frozen_recipe(backbone: Backbone, weights: str | Path, thaw_from: str | None) -> dict[str, Any]:
    """Return everything but the image that determines an output of the frozen part.

    Its keys are frozen: other ones would invalidate the outputs that are stored.

    Args:
        backbone: its parameters.
        weights: file of its weights, from stage weights@NAME.
        thaw_from: the first layer that is not part of it, or None if all layers are.
    """
    return {
        "application": backbone.application,
        "weights": weights_digest(weights),
        "preprocessing": backbone.preprocessing,
        "precision": backbone.precision,
        "batch_size": backbone.batch_size,
        "until": thaw_from,
        "keras": version("keras"),
        "tensorflow": _tensorflow_version(),
    }


def weights_digest(path: str | Path) -> str:
    """Return the SHA-256 of the tensors in a file of stage weights@NAME, which is read only once
    per process.

    Raises:
        UserError: the file cannot be read.
    """
    path = Path(path).resolve()
    stat = path.stat() if path.exists() else None
    return _digest_of_version(path, stat and (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache
def _digest_of_version(path: Path, _: tuple[int, int] | None) -> str:
    return file_digest(path)


def _tensorflow_version() -> str:
    """Return the distribution and its version. The name differs between builds for GPUs and for
    CPUs.
    """
    name = "tensorflow-cpu"
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"tensorflow {version('tensorflow')}"
