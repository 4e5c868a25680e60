"""Malicious and damaged model files, and the function that loads them."""

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from thaw.models import loading


def target(argument: dict) -> None:
    """Load the model file of `argument`, or, with `judge`, only check it."""
    file, allowed = argument["file"], tuple(argument.get("allowed", ()))
    if argument.get("judge"):  # without TensorFlow, which takes long to start
        dict(loading._custom_classes(file, loading._config(file), {}))
        with loading.open_weights(file):
            return
    loading.load_keras_model(file, allowed)


def good() -> dict[str, bytes]:
    """Return the members of a valid file, whose model has an input and a dense layer."""
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    policy["registered_name"] = None
    entry = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "inputs"},
        "registered_name": None,
        "name": "inputs",
        "inbound_nodes": [],
    }
    tensor = {"shape": [None, 3], "dtype": "float32", "keras_history": ["inputs", 0, 0]}
    tensor = {"class_name": "__keras_tensor__", "config": tensor}
    dense = {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"name": "output", "dtype": policy, "units": 2, "activation": "softmax"},
        "registered_name": None,
        "build_config": {"input_shape": [None, 3]},
        "name": "output",
        "inbound_nodes": [{"args": [tensor], "kwargs": {}}],
    }
    config = {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "model",
            "trainable": True,
            "layers": [entry, dense],
            "input_layers": [["inputs", 0, 0]],
            "output_layers": [["output", 0, 0]],
        },
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
    }
    metadata = {"keras_version": "3.15.1"}
    return {
        "config.json": json.dumps(config).encode(),
        "metadata.json": json.dumps(metadata).encode(),
        "model.weights.h5": weights(),
    }


def weights(change=None) -> bytes:
    """Return an HDF5 file of weights of `good`, after `change` edited it."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables["0"], variables["1"] = np.zeros((3, 2), "float32"), np.zeros(2, "float32")
        file.create_group("layers/input_layer/vars")
        file.create_group("vars")
        if change is not None:
            change(file)
    return content.getvalue()


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file of members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def layer(change) -> bytes:
    """Return the valid file after `change` edited the configuration of its dense layer."""
    members = good()
    config = json.loads(members["config.json"])
    change(config["config"]["layers"][1])
    return packed({**members, "config.json": json.dumps(config).encode()})


CLASSES = [
    ("keras.layers", "Lambda"), ("keras.layers", "TFSMLayer"), ("keras.layers", "StringLookup"),
    ("keras.layers", "TextVectorization"), ("keras.layers", "TorchModuleWrapper"),
    ("keras.layers", "JaxLayer"), ("keras.layers", "FlaxLayer"),
    ("keras.src.layers.core.lambda_layer", "Lambda"),
    ("keras.utils", "get_file"), ("keras.saving", "load_model"),
    ("keras.config", "enable_unsafe_deserialization"),
    ("keras.models", "load_model"), ("keras.utils", "plot_model"),
    ("builtins", "eval"), ("os", "system"),
    ("subprocess", "Popen"), ("evil", "Evil"), ("keras.evil", "Evil"), ("keras_hub.evil", "Evil"),
    ("keras.callbacks", "CSVLogger"), ("keras.datasets.mnist", "load_data"), ("keras", "Model"),
    (None, "__lambda__"), (None, "__typespec__"), (None, "Lambda"),
    (None, "function"), ("builtins", "function"),
    (["keras.layers"], "Dense"), ("keras.layers", {"a": 1}), ("keras.layers", None), (0, 0),
]  # fmt: skip


def corpus() -> Iterator[tuple[str, bytes, str | None]]:
    """Yield (description, content of the file, expected outcome or None)."""
    members = good()
    yield "valid file", packed(members), "accepted"
    for module, name in CLASSES:

        def replace_class(config, module=module, name=name) -> None:
            config.update({"module": module, "class_name": name})

        yield f"class {module}.{name}", layer(replace_class), "refused"

        def add_nested_class(config, module=module, name=name) -> None:
            config["config"]["kernel_initializer"] = {
                "module": module, "class_name": name, "config": {}, "registered_name": None,
            }  # fmt: skip

        yield f"nested class {module}.{name}", layer(add_nested_class), "refused"
    registered = ["evil>Evil", "Lambda", "keras.layers>Lambda", 5, ["x"]]
    for value in registered:
        change = lambda config, value=value: config.update(registered_name=value)  # noqa: E731
        yield f"registered as {value}", layer(change), "refused"
    lambda_ = {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
    for key in ("activation", "kernel_initializer", "units", "name", "dtype"):
        change = lambda config, key=key: config["config"].update({key: lambda_})  # noqa: E731
        yield f"lambda as {key}", layer(change), "refused"
    compiled = {"optimizer": "adam"}
    yield (
        "compiled nested model",
        layer(lambda config: config.update(compile_config=compiled)),
        "refused",
    )
    for units in (10**5, 10**9, 10**18, -1, 0, 2.5, "x", None, [1]):
        change = lambda config, units=units: config["config"].update(units=units)  # noqa: E731
        yield f"{units} units", layer(change), "refused"
    for content in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"class_name": 1}',
        b"{}",
    ):
        config = {**members, "config.json": content}
        yield f"config {content[:20]!r}", packed(config), "refused"
    for change in ({"layers": []}, {"input_layers": "x"}, {"output_layers": []}, {"layers": None}):
        config = json.loads(members["config.json"])
        config["config"].update(copy.deepcopy(change))
        config = {**members, "config.json": json.dumps(config).encode()}
        yield f"config with {change}", packed(config), "refused"
    for missing in ("config.json", "model.weights.h5"):
        yield f"no {missing}", packed({k: v for k, v in members.items() if k != missing}), "refused"
    for more in ("evil.pkl", "../evil", "/evil", "assets/evil", "model.weights.npz", "evil.py"):
        yield (
            f"with {more}",
            packed({**members, more: b"cos\nsystem\n(S'touch evil'\ntR."}),
            "refused",
        )
    yield "compressed", packed(members, zipfile.ZIP_DEFLATED), "refused"
    bomb = packed({**members, "model.weights.h5": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    yield "decompression bomb", bomb, "refused"
    content = packed(members)
    for share in (0, 0.1, 0.5, 0.9, 0.99):
        yield f"truncated to {share}", content[: int(len(content) * share)], "refused"
    yield "HTML", b"<html>404 not found</html>", "refused"
    yield "pickle", b"cos\nsystem\n(S'touch evil'\ntR.", "refused"
    yield "HDF5 file", members["model.weights.h5"], "refused"
    for problem, change in {
        "soft link": lambda f: f.__setitem__("x", h5py.SoftLink("/layers")),
        "external link": lambda f: f.__setitem__("x", h5py.ExternalLink("../secret.txt", "/")),
        "pickle": lambda f: f.create_dataset("x", data=np.void(b"cos\nsystem\n(S'x'\ntR.")),
        "text": lambda f: f.create_dataset("x", data="evil"),
        "external file": lambda f: f.create_dataset(
            "x", (5,), "u1", external=[("../secret.txt", 0, 5)]
        ),
        "declares a petabyte": lambda f: f.create_dataset("x", (10**15,), "u1", chunks=(1000,)),
        "declares a compressed terabyte": lambda f: f.create_dataset(
            "x", (10**12,), "u1", chunks=(1000,), compression="gzip"
        ),
    }.items():
        yield (
            f"weights: {problem}",
            packed({**members, "model.weights.h5": weights(change)}),
            "refused",
        )
    for shape in ((2, 3), (3, 3), (), (0,), (6,)):

        def reshape_kernel(file, shape=shape) -> None:
            del file["layers/dense/vars/0"]
            file["layers/dense/vars/0"] = np.zeros(shape, "float32")

        changed = packed({**members, "model.weights.h5": weights(reshape_kernel)})
        yield f"weights of shape {shape}", changed, "refused"
    for content in (b"", b"\x89HDF\r\n\x1a\n", members["model.weights.h5"][:500], b"text"):
        changed = packed({**members, "model.weights.h5": content})
        yield f"weights of {len(content)} bytes", changed, "refused"


def write(folder: Path, content: bytes) -> str:
    """Write FOLDER/model.keras and return its path."""
    file = folder / "model.keras"
    file.write_bytes(content)
    return str(file)
