"""Model files that mean harm or took it, and what loads them."""

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from thaw.models import loading as room


def target(given: dict) -> None:
    allowed = tuple(given.get("allowed", ()))
    if given.get("judge"):  # without TensorFlow, which takes long
        dict(room._judged(given["file"], room._config(given["file"]), {}))
        with room.open_weights(given["file"]):
            return
    room.load_keras_model(given["file"], allowed)


def good() -> dict[str, bytes]:
    """The members of a valid file: an input and a dense layer."""
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
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables["0"], variables["1"] = np.zeros((3, 2), "float32"), np.zeros(2, "float32")
        file.create_group("layers/input_layer/vars")
        file.create_group("vars")
        if change is not None:
            change(file)
    return held.getvalue()


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def layer(change) -> bytes:
    """The valid file with its dense layer changed."""
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
    """Each as (what it is, content, how it must end or none)."""
    members = good()
    yield "a good one", packed(members), "taken"
    for module, name in CLASSES:

        def be(held, module=module, name=name) -> None:
            held.update({"module": module, "class_name": name})

        yield f"class {module}.{name}", layer(be), "refused"

        def within(held, module=module, name=name) -> None:
            held["config"]["kernel_initializer"] = {
                "module": module, "class_name": name, "config": {}, "registered_name": None,
            }  # fmt: skip

        yield f"within it {module}.{name}", layer(within), "refused"
    registered = ["evil>Evil", "Lambda", "keras.layers>Lambda", 5, ["x"]]
    for given in registered:
        change = lambda held, given=given: held.update(registered_name=given)  # noqa: E731
        yield f"registered as {given}", layer(change), "refused"
    lambda_ = {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
    for key in ("activation", "kernel_initializer", "units", "name", "dtype"):
        change = lambda held, key=key: held["config"].update({key: lambda_})  # noqa: E731
        yield f"a lambda as {key}", layer(change), "refused"
    compiled = {"optimizer": "adam"}
    yield "compiled within", layer(lambda held: held.update(compile_config=compiled)), "refused"
    for units in (10**5, 10**9, 10**18, -1, 0, 2.5, "x", None, [1]):
        change = lambda held, units=units: held["config"].update(units=units)  # noqa: E731
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
    yield "packed", packed(members, zipfile.ZIP_DEFLATED), "refused"
    bomb = packed({**members, "model.weights.h5": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    yield "a bomb", bomb, "refused"
    whole = packed(members)
    for share in (0, 0.1, 0.5, 0.9, 0.99):
        yield f"cut at {share}", whole[: int(len(whole) * share)], "refused"
    yield "text", b"<html>404 not found</html>", "refused"
    yield "a pickle", b"cos\nsystem\n(S'touch evil'\ntR.", "refused"
    yield "an HDF5 file", members["model.weights.h5"], "refused"
    for what, change in {
        "a soft link": lambda f: f.__setitem__("x", h5py.SoftLink("/layers")),
        "an external link": lambda f: f.__setitem__("x", h5py.ExternalLink("../secret.txt", "/")),
        "a pickle": lambda f: f.create_dataset("x", data=np.void(b"cos\nsystem\n(S'x'\ntR.")),
        "text": lambda f: f.create_dataset("x", data="evil"),
        "an external file": lambda f: f.create_dataset(
            "x", (5,), "u1", external=[("../secret.txt", 0, 5)]
        ),
        "a petabyte": lambda f: f.create_dataset("x", (10**15,), "u1", chunks=(1000,)),
        "a packed terabyte": lambda f: f.create_dataset(
            "x", (10**12,), "u1", chunks=(1000,), compression="gzip"
        ),
    }.items():
        yield (
            f"weights: {what}",
            packed({**members, "model.weights.h5": weights(change)}),
            "refused",
        )
    for shape in ((2, 3), (3, 3), (), (0,), (6,)):

        def other(file, shape=shape) -> None:
            del file["layers/dense/vars/0"]
            file["layers/dense/vars/0"] = np.zeros(shape, "float32")

        changed = packed({**members, "model.weights.h5": weights(other)})
        yield f"weights of shape {shape}", changed, "refused"
    for content in (b"", b"\x89HDF\r\n\x1a\n", members["model.weights.h5"][:500], b"text"):
        changed = packed({**members, "model.weights.h5": content})
        yield f"weights of {len(content)} bytes", changed, "refused"


def write(folder: Path, content: bytes) -> str:
    file = folder / "model.keras"
    file.write_bytes(content)
    return str(file)
