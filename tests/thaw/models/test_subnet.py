import numpy as np
import pytest

from thaw.config.subnet import validate_subnet
from thaw.models import logistic
from thaw.models.backbones.applications import build_application
from thaw.models.layers import to_probabilities
from thaw.models.saving import save_model
from thaw.models.subnet import ACTIVATIONS, build_logistic, build_subnet, predict_subnet
from thaw.runtime.tensorflow import keras

FEATURES = (4, 4, 512)  # shape of VGG16's features of images of 150 x 150 pixels


@pytest.fixture
def shipped(compose):
    """Return a function that builds a subnet of conf/subnet/ with overrides."""

    def make(option: str, *overrides: str, classes: int = 2) -> keras.Model:
        composed = compose(f"+subnet@subnets.mine={option}", *overrides)
        return build_subnet(validate_subnet(composed["subnets"]["mine"], "mine"), FEATURES, classes)

    return make


def layers(model: keras.Model) -> list[str]:
    return [
        f"{type(layer).__name__} {getattr(layer, 'units', getattr(layer, 'rate', ''))}".strip()
        for layer in model.layers[1:]
    ]


def test_fc256_has_the_published_layers(shipped):
    model = shipped("fc256")
    assert model.count_params() == 2_097_665
    assert layers(model) == ["Flatten", "Dense 256", "Dropout 0.5", "Dense 1"]
    assert [layer.activation.__name__ for layer in model.layers if hasattr(layer, "units")] == [
        "relu",
        "sigmoid",
    ]


def test_fc512x2_has_the_published_layers(shipped):
    assert layers(shipped("fc512x2")) == [
        "Flatten",
        "Dense 512",
        "Dropout 0.3",
        "Dense 512",
        "Dropout 0.3",
        "Dense 1",
    ]


def test_gap1024_on_vgg16_has_the_published_layers(shipped):
    model = shipped("gap1024")
    assert model.count_params() + build_application("VGG16", 150).count_params() == 15_242_050
    assert layers(model) == ["GlobalAveragePooling2D", "Dense 1024", "Dense 2"]
    assert model.layers[-1].activation.__name__ == "softmax"


def test_gap256_has_the_layers_that_fine_tuning_starts_from(shipped):
    model = shipped("gap256")
    assert layers(model) == ["GlobalAveragePooling2D", "Dense 256", "Dropout 0.5", "Dense 1"]


@pytest.mark.parametrize("option", ["fc256", "gap1024"])
def test_each_of_more_than_two_classes_has_a_softmax_unit(shipped, option):
    model = shipped(option, classes=5)
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation.__name__ == "softmax"


def test_every_parameter_is_used(shipped):
    model = shipped(
        "fc256",
        "subnets.mine.units=[8,4]",
        "subnets.mine.dropout=0",
        "+subnets.mine.activation=gelu",
        "subnets.mine.pooling=average",
        "+subnets.mine.l1=0.25",
        "subnets.mine.l2=0.5",
    )
    assert layers(model) == ["GlobalAveragePooling2D", "Dense 8", "Dense 4", "Dense 1"]
    assert model.get_layer("hidden1").activation.__name__ == "gelu"
    kernels = [model.get_layer(f"hidden{n}").kernel for n in (1, 2)]
    penalty = sum(
        0.25 * np.abs(k).sum() + 0.5 * np.square(k).sum() for k in map(np.asarray, kernels)
    )
    model(np.zeros((1, *FEATURES), "float32"))
    assert sum(map(float, model.losses)) == pytest.approx(penalty, rel=1e-5)


def test_without_penalty_there_is_no_regularization_loss(shipped):
    model = shipped("fc256")
    model(np.zeros((1, *FEATURES), "float32"))
    assert model.losses == []


@pytest.mark.parametrize(
    ("overrides", "classes"),
    [([f"+subnets.mine.activation={name}"], 2) for name in ACTIVATIONS]
    + [
        (["subnets.mine.pooling=average", "subnets.mine.units=[16,8,4]"], 3),
        (["subnets.mine.output=softmax", "subnets.mine.units=[]"], 2),
        (
            ["+subnets.mine.activation=tanh", f"subnets.mine.units={[2] * 12}"],
            2,
        ),  # Keras's file lists dense_10 before dense_2
    ],
)
def test_numpy_predicts_what_keras_predicts(compose, tmp_path, overrides, classes):
    composed = compose("+subnet@subnets.mine=fc256", "subnets.mine.units=[16]", *overrides)
    parameters = validate_subnet(composed["subnets"]["mine"], "mine")
    keras.utils.set_random_seed(0)
    model = build_subnet(parameters, FEATURES, classes)
    save_model(model, tmp_path / "model.keras")
    features = np.random.default_rng(0).exponential(1, (300, *FEATURES)).astype("float16")
    expected = to_probabilities(model.predict(features.astype("float32"), verbose=0))
    predicted = predict_subnet(parameters, tmp_path / "model.keras", features)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)
    assert predicted.std(axis=0).min() > 1e-3


@pytest.mark.parametrize("pooling", ["average", "average_max"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_logistic_regression_as_a_dense_layer_predicts_the_same(pooling, classes):
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 2, 2, 8)).astype("float32") + 3
    labels = np.arange(60) % classes
    inputs = logistic.pooled(features, pooling)
    model = logistic.fit(inputs, labels, np.ones(60), 1.0, 500)
    outputs = build_logistic(model, (2, 2, 8)).predict_on_batch(features)
    assert outputs.shape == (60, 1 if classes == 2 else 3)
    expected = logistic.predict(model, inputs)
    np.testing.assert_allclose(to_probabilities(outputs), expected, atol=1e-5)
