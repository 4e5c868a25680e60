import pytest

from tests.fixtures.networks import layers, trainable_count
from thaw.errors import UserError


@pytest.mark.parametrize(
    ("option", "parameters"), [("small_cnn", 1_212_513), ("wide_cnn", 19_024_513)]
)
def test_for_cats_and_dogs_they_have_the_published_parameter_counts(shipped, option, parameters):
    model = shipped(option, (150, 150, 3), 2)
    assert model.count_params() == parameters
    assert model.output_shape == (None, 1)


def test_small_cnn_has_the_published_layers(shipped):
    convolution, pooling = "Conv2D {} (3, 3) valid linear", "MaxPooling2D valid (2, 2)"
    assert layers(shipped("small_cnn", (150, 150, 3), 2)) == [
        *(convolution.format(32), "Activation relu", pooling),
        *(convolution.format(32), "Activation relu", pooling),
        *(convolution.format(64), "Activation relu", pooling),
        *("Flatten", "Dense 64 linear", "Activation relu", "Dropout 0.5", "Dense 1 sigmoid"),
    ]


@pytest.mark.parametrize(
    ("option", "rates"),
    [("leaky_cnn", []), ("leaky_cnn_dropout", [0.25, 0.25, 0.4, 0.3])],
)
def test_leaky_cnn_for_fashion_mnist_has_the_published_layers(shipped, option, rates):
    model = shipped(option, (28, 28, 1), 10)
    assert model.count_params() == 356_234
    assert model.get_layer("flatten").output.shape == (None, 2048)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("LeakyReLU") == 4
    slopes = [layer.negative_slope for layer in model.layers if hasattr(layer, "negative_slope")]
    assert slopes == [0.1] * 4
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == rates
    block = ["Conv2D 32 (3, 3) same linear", "LeakyReLU", "MaxPooling2D same (2, 2)"]
    assert layers(model)[: 4 if rates else 3] == [*block, *(["Dropout 0.25"] if rates else [])]
    assert layers(model)[-1] == "Dense 10 softmax"


def test_normal_cnn_has_batch_norm_instead_of_biases_and_average_pooling(shipped):
    model = shipped("normal_cnn", (28, 28, 1), 10)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == kinds.count("BatchNormalization") == 5
    assert not any(layer.use_bias for layer in model.layers if hasattr(layer, "filters"))
    assert kinds[-2:] == ["GlobalAveragePooling2D", "Dense"]
    filters = [32, 64, 64, 128, 128]
    kernels = sum(9 * a * b for a, b in zip([1, *filters], filters, strict=False))
    assert trainable_count(model) == kernels + 2 * sum(filters) + 128 * 10 + 10
    assert model.count_params() == trainable_count(model) + 2 * sum(filters) == 279_722


def test_every_parameter_is_used(shipped):
    model = shipped(
        "small_cnn",
        (16, 16, 1),
        3,
        filters=[4, 8],
        convolutions=[2, 1],
        padding="same",
        activation="elu",
        block_dropout=[0.0, 0.2],
        pooling="average",
        units=[6, 5],
        dropout=0.1,
    )
    assert layers(model) == [
        *("Conv2D 4 (3, 3) same linear", "Activation elu") * 2,
        "MaxPooling2D same (2, 2)",
        *("Conv2D 8 (3, 3) same linear", "Activation elu"),
        *("MaxPooling2D same (2, 2)", "Dropout 0.2"),
        "GlobalAveragePooling2D",
        *("Dense 6 linear", "Activation elu", "Dropout 0.1"),
        *("Dense 5 linear", "Activation elu", "Dropout 0.1"),
        "Dense 3 softmax",
    ]


@pytest.mark.parametrize("name", ["convolutions", "block_dropout"])
def test_lists_without_one_value_per_block_are_rejected(shipped, name):
    wrong = {"convolutions": [1, 1], "block_dropout": [0.1]}[name]
    with pytest.raises(UserError, match=f"{name} expects 3 values, one for each block") as error:
        shipped("small_cnn", (32, 32, 1), 2, **{name: wrong})
    assert "\n" not in str(error.value)
