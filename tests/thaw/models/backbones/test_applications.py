import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from thaw.config.backbone import Backbone
from thaw.config.base import validate
from thaw.errors import UserError
from thaw.models.backbones.applications import (
    build_application,
    load_backbone,
    named_tensors,
    preprocess,
    preprocess_pixels,
    split_at,
    split_points,
)
from thaw.runtime.tensorflow import compute_precision, keras
from thaw.storage.npz import tensors_digest

CONF = Path(__file__).parents[4] / "conf" / "backbone"
SHIPPED = {  # parameters without the top, and channels of the features
    "VGG16": (14_714_688, 512),
    "VGG19": (20_024_384, 512),
    "ResNet50": (23_587_712, 2048),
    "MobileNetV2": (2_257_984, 1280),
    "EfficientNetB0": (4_049_571, 1280),
    "EfficientNetLite0": (3_413_024, 1280),
    "EfficientNetLite2": (4_869_168, 1280),
}
KERAS = [name for name in SHIPPED if "Lite" not in name]
SIZE = 64


@pytest.fixture(scope="module")
def built():
    """Return a function that builds each backbone once, with random weights."""
    models: dict[str, keras.Model] = {}

    def build(name: str) -> keras.Model:
        if name not in models:
            keras.utils.set_random_seed(0)
            models[name] = build_application(name, SIZE)
        return models[name]

    return build


def pixels(channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (2, SIZE, SIZE, channels), dtype="uint8")


def test_every_shipped_backbone_is_tested_here():
    shipped = set()
    for file in CONF.glob("*.yaml"):
        backbone = validate(Backbone, yaml.safe_load(file.read_text()), "backbones", file.stem)
        assert backbone.application.lower() == file.stem.replace("_", "")
        shipped.add(backbone.application)
    assert shipped == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_backbone_returns_finite_features_of_its_shape(built, name):
    """With random weights, since those of ImageNet need a download."""
    parameters, channels = SHIPPED[name]
    model = built(name)
    features = np.asarray(model(preprocess_pixels(pixels(), name, "own"), training=False))
    assert model.count_params() == parameters
    assert features.shape == (2, 2, 2, channels) and np.isfinite(features).all()
    assert not np.array_equal(features[0], features[1])


@pytest.mark.parametrize("name", KERAS)
def test_own_preprocessing_equals_keras_applications(name):
    module = {
        "VGG16": keras.applications.vgg16,
        "VGG19": keras.applications.vgg19,
        "ResNet50": keras.applications.resnet50,
        "MobileNetV2": keras.applications.mobilenet_v2,
        "EfficientNetB0": keras.applications.efficientnet,
    }[name]
    preprocessed = np.asarray(preprocess_pixels(pixels(), name, "own"))
    expected = module.preprocess_input(pixels().astype("float32"))
    np.testing.assert_allclose(preprocessed, expected, rtol=1e-5, atol=1e-5)
    inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")  # the same inside a model
    model = keras.Model(inputs, preprocess_pixels(inputs, name, "own"))
    np.testing.assert_array_equal(model(pixels()), preprocessed)


def test_own_preprocessing_of_vgg_is_bgr_minus_the_imagenet_means():
    preprocessed = np.asarray(preprocess("VGG16", np.array([[[[10.0, 20.0, 30.0]]]], "float32")))
    np.testing.assert_allclose(
        preprocessed, [[[[30 - 103.939, 20 - 116.779, 10 - 123.68]]]], rtol=1e-5
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_rescale_is_the_same_for_every_backbone(name):
    preprocessed = np.asarray(preprocess_pixels(pixels(), name, "rescale"))
    np.testing.assert_array_equal(preprocessed, pixels().astype("float32") / np.float32(255))


def test_a_grey_image_becomes_three_equal_channels():
    grey = pixels(1)
    for scheme in ("own", "rescale"):
        three = np.repeat(grey, 3, axis=-1)
        preprocessed = preprocess_pixels(grey, "VGG16", scheme)
        np.testing.assert_array_equal(preprocessed, preprocess_pixels(three, "VGG16", scheme))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("scheme", ["own", "rescale"])
@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_inside_a_model_needs_only_keras_and_is_float32(
    tmp_path, name, scheme, channels
):
    """At every precision of the network, and without this project's code."""
    with compute_precision("bfloat16"):
        assert preprocess_pixels(pixels(channels), name, scheme).dtype == "float32"
        inputs = keras.Input((SIZE, SIZE, channels), dtype="uint8")
        keras.Model(inputs, preprocess_pixels(inputs, name, scheme)).save(tmp_path / "model.keras")
    preprocessed = keras.saving.load_model(tmp_path / "model.keras")(pixels(channels))
    assert preprocessed.dtype == "float32"
    np.testing.assert_array_equal(preprocessed, preprocess_pixels(pixels(channels), name, scheme))
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert not re.search(rb"thaw|stages", archive.read("config.json"))


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("VGG16", "block5_conv1"),
        ("VGG16", "block1_conv1"),
        ("VGG16", "block5_pool"),
        ("VGG16", None),
        ("ResNet50", "conv5_block1_1_conv"),
        ("MobileNetV2", "Conv_1"),
        ("EfficientNetLite0", "block6a_expand_conv"),
    ],
)
def test_the_frozen_and_the_thawed_part_together_are_the_model(built, name, start):
    model, x = built(name), preprocess_pixels(pixels(), name, "own")
    frozen, thawed = split_at(model, start)
    np.testing.assert_allclose(thawed(frozen(x)), model(x), rtol=1e-4, atol=1e-5)
    variables = {id(v) for part in (frozen, thawed) for v in part.variables}
    assert variables == {id(v) for v in model.variables}  # shared, not copied
    if start:
        assert start in [layer.name for layer in thawed.layers]
        assert start not in [layer.name for layer in frozen.layers]


def test_a_model_cannot_be_split_inside_a_residual_block(built):
    with pytest.raises(
        UserError, match="thaw_from = 'conv2_block1_1_bn': expected one of conv1_pad"
    ):
        split_at(built("ResNet50"), "conv2_block1_1_bn")


def test_vgg16_can_be_split_at_every_layer(built):
    assert split_points(built("VGG16")) == [layer.name for layer in built("VGG16").layers[1:]]


def test_resnet50_can_be_split_between_its_blocks_and_not_inside(built):
    possible = split_points(built("ResNet50"))
    assert {"conv1_conv", "conv5_block1_1_conv", "conv5_block3_out"} <= set(possible)
    assert not {"conv5_block1_2_conv", "conv5_block1_add", "conv5_block1_0_conv"} & set(possible)


def test_layers_inside_a_residual_block_of_raw_operators_are_not_listed():
    model = build_application("ConvNeXtTiny", 32)
    possible = split_points(model)
    assert "convnext_tiny_stage_0_block_0_layernorm" not in possible
    for name in possible[::20]:
        split_at(model, name)


def test_stored_weights_are_loaded_and_those_of_another_network_rejected(built, tmp_path):
    tensors = named_tensors(built("MobileNetV2"))
    np.savez(tmp_path / "w.npz", **tensors)
    for precision in ("float32", "bfloat16"):
        keras.utils.clear_session(free_memory=False)
        loaded = load_backbone("MobileNetV2", SIZE, tmp_path / "w.npz", precision)
        assert tensors_digest(named_tensors(loaded)) == tensors_digest(tensors)
        assert loaded.get_layer("Conv_1").compute_dtype == precision
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(UserError, match="w.npz does not contain the weights of VGG16"):
        load_backbone("VGG16", SIZE, tmp_path / "w.npz", "float32")


def test_digest_depends_on_names_shapes_and_values():
    base = {"a": np.ones((2, 3), "float32")}
    others = [
        {"b": base["a"]},
        {"a": base["a"].reshape(3, 2)},
        {"a": base["a"] * 2},
        {**base, "b": base["a"]},
    ]
    assert tensors_digest(dict(base)) == tensors_digest(base)
    assert len({tensors_digest(tensors) for tensors in [base, *others]}) == 5


def test_unknown_applications_and_unsupported_sizes_are_rejected():
    with pytest.raises(
        UserError, match="'VGG61' is no network of keras.applications or Thaw. Did you mean VGG1"
    ):
        build_application("VGG61", SIZE)
    with pytest.raises(UserError, match="dataset.image.size = 16: VGG16 does not accept it"):
        build_application("VGG16", 16)
