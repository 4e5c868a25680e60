"""The recipe of a frozen backbone's outputs in the store, without starting TensorFlow."""

import functools
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thaw.config.backbone import Backbone
from thaw.runtime.openvino import computed_precision
from thaw.storage.npz import file_digest


def frozen_recipe(backbone: Backbone, weights: str | Path, thaw_from: str | None) -> dict[str, Any]:
    """Return everything but the image that determines an output of the frozen part.

    Its keys are frozen: other ones would invalidate the outputs that are stored. OpenVINO computes
    each image by itself, so the batch size is not among its keys.

    Args:
        backbone: its parameters.
        weights: file of its weights, from stage weights@NAME.
        thaw_from: the first layer that is not part of it, or None if all layers are.
    """
    recipe = {
        "application": backbone.application,
        "weights": weights_digest(weights),
        "preprocessing": backbone.preprocessing,
        "precision": backbone.precision,
        "until": thaw_from,
        "keras": version("keras"),
        "tensorflow": _tensorflow_version(),
    }
    if backbone.engine == "tensorflow":
        return {**recipe, "batch_size": backbone.batch_size}
    return {
        **recipe,
        "precision": computed_precision(backbone.precision),
        "type": output_type(backbone),
        "engine": f"openvino {version('openvino')}",
    }


def output_type(backbone: Backbone) -> str:
    """Return the type of stored outputs: float32, or float16 if the backbone shall compute in
    bfloat16, whose numbers have fewer digits than those of float16.
    """
    return "float16" if backbone.precision == "bfloat16" else "float32"


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
