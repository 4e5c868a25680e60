"""Load models from .keras files of unknown origin without running code that they contain.

A class is used only if it is on the lists below or the caller allows it by name.
"""

import contextlib
import importlib
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from thaw.errors import UserError, printable

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {CONFIG, WEIGHTS, "metadata.json", "thaw.json"}
MAX_CONFIG_BYTES = 50_000_000  # EfficientNetV2L's has 2 MB; protects memory
ADMITTED_MODULES = {  # with all their classes
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.activations",
    "keras.dtype_policies",
    "keras.src.ops.core",
    "keras.src.ops.image",
    "keras.src.ops.math",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
}
ADMITTED = {
    "keras.DTypePolicy",
    "keras.Sequential",
    "keras.src.models.functional.Functional",
    "keras.src.models.sequential.Sequential",
    "keras.src.applications.convnext.LayerScale",
}
REFUSED_LAYERS = {  # of keras.layers, whose other classes are admitted
    "Lambda",  # runs code from the file
    "FlaxLayer",
    "JaxLayer",
    "TFSMLayer",
    "TorchModuleWrapper",
    "IntegerLookup",  # this one and the next two read other files
    "StringLookup",
    "TextVectorization",
}
# what Keras writes as the class of plain values
VALUES = {"__keras_tensor__", "__tensor__", "__ellipsis__", "__slice__"}
RESTORE_HINT = "`dvc checkout` or `dvc repro` restores it, or `thaw package` writes it again."


def load_keras_model(path: str | Path, allowed: tuple[str, ...] = ()) -> Any:
    """Return the keras.Model in a .keras file, not compiled.

    Args:
        path: of the file.
        allowed: classes besides Keras's own that the model may use, as MODULE:CLASS. Their modules
            are imported. `keras.layers:Lambda` runs code from the file.

    Raises:
        UserError: the file is damaged or not a .keras file, uses a class that is not allowed, or
            declares more weights than it contains.
    """
    allowed_classes = _allowed(allowed)
    config = _config(path)
    custom = dict(_custom_classes(path, config, allowed_classes))
    with open_weights(path):
        pass  # raises if the weights are not safe to read
    from thaw.runtime.tensorflow import keras

    lambdas = "keras.layers.Lambda" in allowed_classes
    size = Path(path).stat().st_size
    random_state = random.getstate()  # building draws a seed for dropout, and runs twice
    try:
        with keras.StatelessScope():  # its variables have a shape and take no memory
            planned = _deserialize(keras, config, custom, lambdas)
            count = sum(int(np.prod(variable.shape)) for variable in planned.weights)
        random.setstate(random_state)
        if count > size:
            raise UserError(
                f"{path} is refused: its layers have {count:,} weights and the file {size:,} bytes."
            )
        return keras.saving.load_model(
            path, custom_objects=custom, compile=False, safe_mode=not lambdas
        )
    except UserError:
        raise
    except Exception as error:  # Keras raises nearly everything on files of other programs
        raise UserError(f"{path} cannot be read: {_first_line(error)}. {RESTORE_HINT}") from None


def _deserialize(keras: Any, config: dict[str, Any], custom: dict[str, type], lambdas: bool) -> Any:
    config = {**config, "compile_config": None}
    return keras.saving.deserialize_keras_object(
        config, custom_objects=custom, safe_mode=not lambdas
    )


@contextlib.contextmanager
def open_weights(path: str | Path) -> Iterator[h5py.File]:
    """Open the HDF5 file of weights inside a .keras file.

    Raises:
        UserError: it is damaged, refers to other files, or declares more data than it contains.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(_open_archive(path))
            member = stack.enter_context(archive.open(WEIGHTS))
            file = stack.enter_context(h5py.File(member, "r"))
            size = archive.getinfo(WEIGHTS).file_size
            if problem := _problem(file, size):
                raise UserError(f"{path} is refused: {problem}. {RESTORE_HINT}")
        except UserError:
            raise
        except Exception as error:  # h5py raises nearly everything
            raise UserError(
                f"{path} cannot be read: its weights: {_first_line(error)}. {RESTORE_HINT}"
            ) from None
        yield file


def _problem(file: h5py.File, size: int) -> str | None:
    """Return why a file of weights of `size` bytes is not safe to read, or None."""
    problems = []

    def check_link(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            problems.append(f"its weights contain a link, {name!r}")

    total = 0

    def check_item(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                problems.append(f"its weights {name!r} are in another file")
            if item.dtype.kind not in "fiub":
                problems.append(f"its weights {name!r} are not numbers")
            total += item.size * item.dtype.itemsize

    file.visititems_links(check_link)
    if not problems:
        file.visititems(check_item)
    if total > size:
        problems.append(f"its weights declare {total:,} bytes and have {size:,}")
    return problems[0] if problems else None


@contextlib.contextmanager
def _open_archive(path: str | Path) -> Iterator[zipfile.ZipFile]:
    path = Path(path)
    if path.is_dir() or not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a model: expected a .keras file. {RESTORE_HINT}")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != len(set(names)) or not {CONFIG, WEIGHTS} <= set(names) <= MEMBERS:
            raise UserError(
                f"{path} is refused: expected {CONFIG} and {WEIGHTS} in it, each once, and "
                f"no members but {', '.join(sorted(MEMBERS))}."
            )
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise UserError(
                    f"{path} is refused: {entry.filename} is compressed, which Keras does not do."
                )
        yield archive


def _config(path: str | Path) -> dict[str, Any]:
    try:
        with _open_archive(path) as archive:
            if archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
                raise UserError(f"{path} is refused: {CONFIG} has over {MAX_CONFIG_BYTES:,} bytes.")
            config = json.loads(archive.read(CONFIG))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read: {_first_line(error)}. {RESTORE_HINT}") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise UserError(f"{path} is refused: its {CONFIG} describes no model. {RESTORE_HINT}")
    return config


def _custom_classes(
    path: str | Path, config: dict[str, Any], allowed: dict[str, type]
) -> Iterator[tuple[str, type]]:
    """Yield the allowed classes that a configuration uses, under the names that Keras looks up.

    Raises:
        UserError: the configuration uses a class that is not allowed.
    """
    waiting = [value for key, value in config.items() if key != "compile_config"]
    _custom_class(path, config, allowed)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if value.get("compile_config"):
                raise UserError(f"{path} is refused: a model nested in it is compiled.")
            if "class_name" in value:
                yield from _custom_class(path, value, allowed)
            waiting += value.values()


def _custom_class(
    path: str | Path, config: dict[str, Any], allowed: dict[str, type]
) -> list[tuple[str, type]]:
    """Return the class of one object's configuration if it is not Keras's own.

    Raises:
        UserError: the class is not allowed.
    """
    module, name = config.get("module"), config["class_name"]
    registered = config.get("registered_name")
    full = f"{module}.{name}" if module is not None else f"{name}"
    if not all(isinstance(part, str | None) for part in (module, name, registered)):
        full = repr(full)[:200]
    elif full in allowed:
        return [(registered or name, allowed[full])]
    elif registered not in (None, name):
        full = f"{registered} ({full})"
    elif module == "keras.layers":
        if name not in REFUSED_LAYERS:
            return []
    elif full in ADMITTED or module in ADMITTED_MODULES or (module is None and name in VALUES):
        return []
    option = f"{printable(str(module))[:300]}:{printable(str(name))[:300]}"
    raise UserError(
        f"{path} is refused: it uses the class {printable(full)[:300]}, which could run code or "
        f"read other files. If you trust its author, allow the class: --allow {option}"
    )


def _allowed(names: tuple[str, ...]) -> dict[str, type]:
    """Return classes by MODULE.CLASS, imported from MODULE:CLASS."""
    classes = {}
    for option in names:
        module, _, name = option.partition(":")
        try:
            classes[f"{module}.{name}"] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"--allow {option}: expected MODULE:CLASS of a class that can be imported here. "
                f"{_first_line(error)}."
            ) from None
    return classes


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return printable(text.splitlines()[0])[:300].rstrip(".")
