"""Trained models out of .keras files, which anybody may have made: nothing in one is run that was
not allowed by name."""

import contextlib
import importlib
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from thaw.errors import UserError, printable

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {CONFIG, WEIGHTS, "metadata.json", "thaw.json"}
MOST_CONFIG = 50_000_000
"""Bytes; that of EfficientNetV2L has 2 MB."""
PARTS = {
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
"""Modules of which every class is admitted."""
ADMITTED = {
    "keras.DTypePolicy",
    "keras.Sequential",
    "keras.src.models.functional.Functional",
    "keras.src.models.sequential.Sequential",
    "keras.src.applications.convnext.LayerScale",
}
REFUSED_LAYERS = {
    "Lambda",  # runs code out of the file
    "FlaxLayer",
    "JaxLayer",
    "TFSMLayer",
    "TorchModuleWrapper",
    "IntegerLookup",  # read other files
    "StringLookup",
    "TextVectorization",
}
VALUES = {"__keras_tensor__", "__tensor__", "__ellipsis__", "__slice__"}
"""What Keras writes in place of a class for plain values."""


def load_keras_model(path: str | Path, allowed: tuple[str, ...] = ()):
    """A model from its file, as keras.Model, not compiled.

    Args:
        allowed: classes besides Keras's own that it may have, as MODULE:CLASS. Their modules are
            imported. `keras.layers:Lambda` runs code that the file brings.

    Raises:
        UserError: it is no such file or a damaged one, has a class that is not allowed, or more
            weights than the file holds.
    """
    given = _allowed(allowed)
    config = _config(path)
    custom = dict(_judged(path, config, given))
    with open_weights(path):
        pass  # judged
    from thaw.runtime.tensorflow import keras

    lambdas = "keras.layers.Lambda" in given
    size = Path(path).stat().st_size
    drawn = random.getstate()  # dropout draws its seed from it, and is about to be made twice
    try:
        with keras.StatelessScope():  # its variables have a shape and take no memory
            planned = _built(keras, config, custom, lambdas)
            count = sum(int(np.prod(variable.shape)) for variable in planned.weights)
        random.setstate(drawn)
        if count > size:
            raise UserError(
                f"{path} is refused: its layers have {count:,} weights and the file {size:,} bytes."
            )
        return keras.saving.load_model(
            path, custom_objects=custom, compile=False, safe_mode=not lambdas
        )
    except UserError:
        raise
    except Exception as error:  # Keras raises nearly everything on files that are not its own
        raise UserError(f"{path} cannot be read: {_line(error)}. {AGAIN}") from None


AGAIN = "`dvc checkout` or `dvc repro` brings it, or pack it anew with `thaw package`."


def _built(keras, config: dict, custom: dict, lambdas: bool):
    config = {**config, "compile_config": None}
    return keras.saving.deserialize_keras_object(
        config, custom_objects=custom, safe_mode=not lambdas
    )


@contextlib.contextmanager
def open_weights(path: str | Path) -> Iterator[h5py.File]:
    """The file of weights in a .keras file.

    Raises:
        UserError: it is damaged, or names other files, or declares more than it holds.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(_archive(path))
            member = stack.enter_context(archive.open(WEIGHTS))
            file = stack.enter_context(h5py.File(member, "r"))
            size = archive.getinfo(WEIGHTS).file_size
            if wrong := _wrong(file, size):
                raise UserError(f"{path} is refused: {wrong}. {AGAIN}")
        except UserError:
            raise
        except Exception as error:  # h5py raises nearly everything
            raise UserError(
                f"{path} cannot be read: its weights: {_line(error)}. {AGAIN}"
            ) from None
        yield file


def _wrong(file: h5py.File, size: int) -> str | None:
    """What a file of weights may not have."""
    found = []

    def link(name: str, link) -> None:
        if not isinstance(link, h5py.HardLink):
            found.append(f"its weights name another place, {name!r}")

    total = 0

    def item(name: str, held) -> None:
        nonlocal total
        if isinstance(held, h5py.Dataset):
            if held.external or held.is_virtual:
                found.append(f"its weights {name!r} lie in another file")
            if held.dtype.kind not in "fiub":
                found.append(f"its weights {name!r} are no numbers")
            total += held.size * held.dtype.itemsize

    file.visititems_links(link)
    if not found:
        file.visititems(item)
    if total > size:
        found.append(f"its weights say {total:,} bytes and are {size:,}")
    return found[0] if found else None


@contextlib.contextmanager
def _archive(path: str | Path) -> Iterator[zipfile.ZipFile]:
    path = Path(path)
    if path.is_dir() or not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no model: expected a .keras file. {AGAIN}")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != len(set(names)) or not {CONFIG, WEIGHTS} <= set(names) <= MEMBERS:
            raise UserError(
                f"{path} is refused: expected {CONFIG} and {WEIGHTS} in it, each once, and "
                f"nothing but {', '.join(sorted(MEMBERS))}."
            )
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise UserError(
                    f"{path} is refused: {entry.filename} is packed, as Keras does not."
                )
        yield archive


def _config(path: str | Path) -> dict:
    try:
        with _archive(path) as archive:
            if archive.getinfo(CONFIG).file_size > MOST_CONFIG:
                raise UserError(f"{path} is refused: {CONFIG} has over {MOST_CONFIG:,} bytes.")
            config = json.loads(archive.read(CONFIG))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read: {_line(error)}. {AGAIN}") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise UserError(f"{path} is refused: its {CONFIG} describes no model. {AGAIN}")
    return config


def _judged(path, config: dict, given: dict[str, type]) -> Iterator[tuple[str, type]]:
    """The allowed classes that the configuration asks for, by the names that Keras looks up.

    Raises:
        UserError: it asks for one that is not.
    """
    waiting = [value for key, value in config.items() if key != "compile_config"]
    _class(path, config, given)
    while waiting:
        held = waiting.pop()
        if isinstance(held, list):
            waiting += held
        elif isinstance(held, dict):
            if held.get("compile_config"):
                raise UserError(f"{path} is refused: a model within it is compiled.")
            if "class_name" in held:
                yield from _class(path, held, given)
            waiting += held.values()


def _class(path, held: dict, given: dict[str, type]) -> list[tuple[str, type]]:
    module, name = held.get("module"), held["class_name"]
    registered = held.get("registered_name")
    full = f"{module}.{name}" if module is not None else f"{name}"
    if not all(isinstance(part, str | None) for part in (module, name, registered)):
        full = repr(full)[:200]
    elif full in given:
        return [(registered or name, given[full])]
    elif registered not in (None, name):
        full = f"{registered} ({full})"
    elif module == "keras.layers":
        if name not in REFUSED_LAYERS:
            return []
    elif full in ADMITTED or module in PARTS or (module is None and name in VALUES):
        return []
    raise UserError(
        f"{path} is refused: it asks for {printable(full)[:300]}, which could run code or read other "
        f"files. If you trust its maker, allow that by name: --allow {printable(str(module))[:300]}:"
        f"{printable(str(name))[:300]}"
    )


def _allowed(names: tuple[str, ...]) -> dict[str, type]:
    """Classes by their full name."""
    found = {}
    for given in names:
        module, _, name = given.partition(":")
        try:
            found[f"{module}.{name}"] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"--allow {given}: expected MODULE:CLASS of a class that can be imported here. "
                f"{_line(error)}."
            ) from None
    return found


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])[:300].rstrip(".")
