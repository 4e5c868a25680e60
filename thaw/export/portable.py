"""Write .keras files that versions of Keras older than this environment's load."""

import json
import zipfile
from pathlib import Path
from typing import Any

from thaw.errors import UserError

MIN_KERAS = "3.6"  # `make test-packages` loads packages with this version and newer ones
# Options that layers got after Keras 3.6, with the value at which a layer computes as it did before
NEW_OPTIONS: dict[str, dict[str, Any]] = {
    "BatchNormalization": {"renorm": False},
    "Dense": {"quantization_config": None},
    "EinsumDense": {"quantization_config": None},
    "InputLayer": {"ragged": False},
    "MultiHeadAttention": {"use_gate": False, "sliding_window": None},
    "Resizing": {"antialias": False},
}
# Options that have an effect only together with one that is refused
UNUSED = ("renorm_clipping", "renorm_momentum")


def write_portable(saved: str | Path, path: str | Path, members: dict[str, str]) -> None:
    """Copy a file of thaw.models.saving.save_model so that Keras from 3.6 on loads it.

    Args:
        saved: the .keras file.
        path: of the copy. metadata.json in it says which versions of Keras load it.
        members: texts to add, by the names of their members.

    Raises:
        UserError: the model uses an option that Keras 3.6 does not have.
    """
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json":
                content = json.dumps(portable_config(json.loads(content))).encode()
            if member == "metadata.json":
                metadata = {**json.loads(content), "loads_with": f"keras>={MIN_KERAS}"}
                content = json.dumps(metadata, sort_keys=True).encode()
            target.writestr(zipfile.ZipInfo(member), content)  # dated 1980
        for member, text in members.items():
            target.writestr(zipfile.ZipInfo(member), text)


def portable_config(config: Any) -> Any:
    """Return the configuration of a model without the keys that Keras 3.6 does not accept.

    The model stays the same: initializers matter only before the weights are loaded, operations
    have their name outside their configuration too, and a package is not compiled.

    Args:
        config: content of config.json in a .keras file, or a part of it.

    Raises:
        UserError: a layer or operation uses an option that Keras 3.6 does not have.
    """
    if isinstance(config, list):
        return [portable_config(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {key: portable_config(value) for key, value in config.items()}
    if "compile_config" in config:
        config["compile_config"] = None
    options, module = config.get("config"), str(config.get("module"))
    if not isinstance(options, dict) or not module.startswith("keras."):
        return config
    dropped = {key for key in options if key.endswith("_initializer") or key in UNUSED}
    if module.startswith("keras.src.ops."):
        dropped |= {"name", "dtype_policy"}
    for key, value in NEW_OPTIONS.get(str(config.get("class_name")), {}).items():
        if options.get(key, value) != value:
            raise UserError(
                f"the layer {options.get('name')!r} has {key} = {options[key]!r}, which Keras 3.6 "
                f"does not have: expected {value!r}. Train the network without it to package it."
            )
        dropped.add(key)
    if config.get("class_name") == "Flip" and isinstance(options["axis"], list):
        raise UserError(
            "the model flips images along a list of axes, which older versions of Keras cannot: it "
            "was trained by an older version of Thaw. `dvc repro` trains it again."
        )
    config["config"] = {key: value for key, value in options.items() if key not in dropped}
    return config
