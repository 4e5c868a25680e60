"""Grad-CAM by NumPy and by Keras, compared with each other and with finite differences."""

import numpy as np
import pytest

from tests.fixtures.training import TRAINING
from thaw.config.subnet import Dense
from thaw.models import gradcam, logistic
from thaw.models.layers import output_layer
from thaw.models.saving import save_model
from thaw.models.subnet import build_subnet, predict_subnet
from thaw.runtime.tensorflow import keras

SHAPE = (5, 4, 6)


def subnet(**changes) -> Dense:
    head = {"kind": "dense", "features": "base", "units": [7, 5], "dropout": 0.0}
    head |= {"l1": 0.0, "l2": 0.0, "output": "auto"}
    return Dense(**{**TRAINING, **head, **changes})


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(9, *SHAPE)).astype("float32")


def scores(probabilities: np.ndarray, classes: np.ndarray, outputs: int) -> np.ndarray:
    """Return scores (n,) of `classes` before the last activation, up to a constant."""
    log = np.log(probabilities[np.arange(len(classes)), classes])
    if outputs == 1:
        return log - np.log(probabilities[np.arange(len(classes)), 1 - classes])
    return log


@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "tanh"])
@pytest.mark.parametrize("pooling", ["average", "flatten"])
@pytest.mark.parametrize("classes_count", [2, 3])
def test_numpy_and_keras_compute_the_same_maps(
    tmp_path, afresh, features, activation, pooling, classes_count
):
    afresh()
    chosen = subnet(activation=activation, pooling=pooling)
    model = build_subnet(chosen, SHAPE, classes_count)
    save_model(model, tmp_path / "model.keras")
    classes = np.arange(len(features)) % classes_count
    by_numpy = gradcam.of_subnet(chosen, tmp_path / "model.keras", features, classes)
    # a network whose last feature map is its input, the features
    pixels = keras.Input(SHAPE)
    identity = keras.layers.Conv2D(SHAPE[2], 1)
    network = keras.Model(pixels, model(identity(pixels)))
    identity.set_weights([np.eye(SHAPE[2])[None, None], np.zeros(SHAPE[2])])
    by_keras = gradcam.GradCam(network)(features, classes)
    assert by_numpy.shape == (len(features), *SHAPE[:2]) and (by_numpy >= 0).all()
    assert by_numpy.max() > 0
    np.testing.assert_allclose(by_numpy, by_keras, rtol=1e-4, atol=1e-7)


def test_channels_are_weighted_by_the_gradient_of_the_score(tmp_path, afresh, features):
    afresh()
    chosen = subnet(activation="tanh", pooling="average")
    model = build_subnet(chosen, SHAPE, 2)
    save_model(model, tmp_path / "model.keras")
    classes = np.arange(len(features)) % 2
    step, slopes = 1e-2, np.empty((len(features), SHAPE[2]))
    for channel in range(SHAPE[2]):
        up, down = features.copy(), features.copy()
        up[..., channel] += step
        down[..., channel] -= step
        changed = [
            scores(predict_subnet(chosen, tmp_path / "model.keras", x), classes, 1)
            for x in (up, down)
        ]
        slopes[:, channel] = (changed[0] - changed[1]) / (2 * step) / np.prod(SHAPE[:2])
    expected = np.maximum(np.einsum("nhwc,nc->nhw", features, slopes), 0)
    maps = gradcam.of_subnet(chosen, tmp_path / "model.keras", features, classes)
    np.testing.assert_allclose(maps, expected, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("pooling", ["average", "average_max"])
@pytest.mark.parametrize("classes_count", [2, 3])
def test_maps_of_a_logistic_model_follow_its_coefficients(features, classes_count, pooling):
    pooled = logistic.pooled(features, pooling)
    labels = np.arange(len(features)) % classes_count
    model = logistic.fit(pooled, labels, np.ones(len(features)), 1.0, 1000)
    slopes = model["coefficients"] / model["scale"]
    if classes_count == 2:
        slopes = np.vstack([-slopes, slopes])
    averages, maxima = np.split(slopes[labels], [SHAPE[2]], axis=1)
    gradients = np.broadcast_to(averages[:, None, None] / np.prod(SHAPE[:2]), features.shape)
    if pooling == "average_max":  # the gradient of a maximum is at its position
        gradients = gradients + maxima[:, None, None] * (
            features == features.max((1, 2), keepdims=True)
        )
    expected = np.einsum("nhwc,nc->nhw", features, gradients.mean(axis=(1, 2)))
    maps = gradcam.of_logistic(model, features, labels)
    np.testing.assert_allclose(maps, np.maximum(expected, 0), rtol=1e-4, atol=1e-6)


def test_the_map_of_a_brightness_classifier_marks_bright_spots(afresh):
    """A convolution sums the pixels, and the head's score rises with the sum."""
    afresh()
    pixels = keras.Input((16, 16, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(1, 2, strides=2, use_bias=False, kernel_initializer="ones")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")(x))
    images = np.zeros((2, 16, 16, 1), "uint8")
    images[0, 2:4, 6:8] = images[1, 12:14, 0:2] = 255
    maps = gradcam.GradCam(model)(images, np.array([1, 1]))
    assert maps.shape == (2, 8, 8)
    assert np.argwhere(maps > 0).tolist() == [[0, 1, 3], [1, 6, 0]]
    assert not gradcam.GradCam(model)(images, np.array([0, 0])).any(), (
        "brightness is evidence for class 1 only"
    )


def test_the_map_of_an_average_over_flips_is_that_of_the_image_itself(afresh):
    afresh()
    inside = keras.Input((8, 8, 3))
    base = keras.Model(inside, keras.layers.Conv2D(4, 3, activation="relu")(inside))
    below = keras.Input(base.output_shape[1:])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 2)(below))
    end = keras.Model(below, output_layer(x, 3))
    pixels = keras.Input((8, 8, 3), dtype="uint8")

    def rescaled(x):
        return keras.ops.cast(x, "float32") / 255

    front = keras.Model(pixels, base(rescaled(pixels)))
    outputs = [end(front(pixels)), end(front(keras.ops.flip(pixels, 2)))]
    mean = keras.Model(pixels, keras.layers.Average()(outputs))
    alone = keras.Model(pixels, end(front(pixels)))
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype="uint8")
    classes = np.array([0, 1, 2])
    maps = gradcam.GradCam(mean)(images, classes)
    np.testing.assert_allclose(maps, gradcam.GradCam(alone)(images, classes), rtol=1e-5)
    assert maps.shape == (3, 5, 5) and maps.any()


@pytest.mark.parametrize(
    "option", ["small_cnn", "leaky_cnn", "resnet", "inception", "googlenet", "dense"]
)
def test_every_family_has_a_map(shipped, option):
    network = shipped(option, (32, 32, 3), 4)
    pixels = keras.Input((32, 32, 3), dtype="uint8")
    plain = keras.Model(network.inputs, network.outputs[0])
    model = keras.Model(pixels, plain(keras.layers.Rescaling(1 / 255)(pixels)))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    maps = gradcam.GradCam(model)(images, np.array([0, 1, 2]))
    assert maps.ndim == 3 and len(maps) == 3 and min(maps.shape[1:]) > 1
    assert np.isfinite(maps).all()


def test_a_network_without_a_feature_map_returns_none(afresh):
    afresh()
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.ops.cast(pixels, "float32"))
    model = keras.Model(pixels, output_layer(x, 2))
    assert gradcam.GradCam(model)(np.zeros((1, 8, 8, 1), "uint8"), np.array([0])) is None
