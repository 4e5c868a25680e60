import pytest

from tests.fixtures.networks import layers
from tests.fixtures.training import TRAINING
from thaw.errors import UserError
from thaw.networks.inception import Parameters, inception_module
from thaw.runtime.tensorflow import keras

PIXELS = (32, 32, 3)
NO_AUGMENTATION = {"horizontal_flip": False, "vertical_flip": False, "shear": 0.0, "zoom": 0.0}


def parameters(branches: list[str], filters: int, bottleneck: bool) -> Parameters:
    return Parameters(
        **TRAINING,
        family="inception",
        modules=1,
        branches=branches,
        filters=filters,
        bottleneck=bottleneck,
        downsample=False,
        auxiliary=[],
        augmentation=NO_AUGMENTATION,
    )


def test_for_cifar_10_it_has_the_published_layers(shipped):
    model = shipped("inception", PIXELS, 10)
    assert model.count_params() == 2_106_250
    assert model.get_layer("concatenate").output.shape == (None, 32, 32, 3 * 64)
    assert sorted(layers(model)) == sorted(
        [
            *("Conv2D 64 (1, 1) same relu", "Conv2D 64 (3, 3) same relu"),
            *("Conv2D 64 (1, 1) same relu", "Conv2D 64 (5, 5) same relu"),
            *("MaxPooling2D same (3, 3)", "Conv2D 64 (1, 1) same relu"),
            *("Concatenate", "Flatten", "Dense 10 softmax"),
        ]
    )
    assert model.get_layer("max_pooling2d").strides == (1, 1)


COUNTS = {
    "naive, 1 channel": ((1, 32, False), ["1x1", "3x3", "5x5"], [64, 320, 832], 1_216),
    "naive, 256": ((256, 8, False), ["1x1", "3x3", "5x5"], [2_056, 18_440, 51_208], 71_704),
    "bottleneck, 256": (
        (256, 8, True),
        ["1x1", "3x3", "5x5", "pool"],
        [2_056, 2_640, 3_664, 2_056],
        10_416,
    ),
}


@pytest.mark.parametrize("case", COUNTS)
def test_the_parameters_of_a_module_are_those_of_its_branches(case):
    (channels, filters, bottleneck), branches, counts, total = COUNTS[case]
    x = keras.Input((8, 8, channels))

    def parameter_count(branches: list[str]) -> int:
        output = inception_module(x, parameters(branches, filters, bottleneck))
        assert output.shape == (None, 8, 8, filters * len(branches))
        return keras.Model(x, output).count_params()

    assert [parameter_count([branch]) for branch in branches] == counts
    assert parameter_count(branches) == sum(counts) == total


def test_the_same_convolutions_stacked_have_29_times_as_many_parameters():
    x = pixels = keras.Input((8, 8, 1))
    for branch in ("1x1", "3x3", "5x5"):
        x = inception_module(x, parameters([branch], 32, bottleneck=False))
    assert keras.Model(pixels, x).count_params() == 64 + 9_248 + 25_632 == 34_944


def test_a_naive_pooling_branch_keeps_its_channels():
    x = keras.Input((8, 8, 5))
    output = inception_module(x, parameters(["1x1", "pool"], 4, bottleneck=False))
    assert output.shape == (None, 8, 8, 4 + 5)
    assert keras.Model(x, output).count_params() == 5 * 4 + 4


@pytest.mark.parametrize("modules", [1, 2, 5])
def test_any_number_of_modules_can_be_stacked(shipped, modules):
    model = shipped("plain_googlenet", PIXELS, 10, modules=modules, filters=2, downsample=False)
    concatenations = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)
    ]
    assert [layer.output.shape for layer in concatenations] == [(None, 32, 32, 8)] * modules
    pooled = shipped("plain_googlenet", PIXELS, 10, modules=modules, filters=2, downsample=True)
    concatenations = [
        layer for layer in pooled.layers if isinstance(layer, keras.layers.Concatenate)
    ]
    assert [layer.output.shape[1] for layer in concatenations] == [
        32 // 2**n for n in range(modules)
    ]


@pytest.mark.parametrize(("classes", "units"), [(10, 10), (2, 1)])
def test_auxiliary_classifiers_are_further_outputs(shipped, classes, units):
    model = shipped("googlenet", PIXELS, classes)
    assert [output.shape for output in model.outputs] == [(None, units)] * 3
    heads = [output._keras_history.operation for output in model.outputs]
    assert [layer.name for layer in heads] == ["output", "auxiliary1", "auxiliary2"]
    assert len({layer.activation.__name__ for layer in heads}) == 1
    inputs = [layer.kernel.shape[0] for layer in heads]
    assert inputs == [8 * 8 * 128, 32 * 32 * 128, 16 * 16 * 128]  # before each pooling
    plain = shipped("plain_googlenet", PIXELS, classes)
    auxiliary = sum(layer.count_params() for layer in heads[1:])
    assert model.count_params() - auxiliary == plain.count_params()


@pytest.mark.parametrize("auxiliary", [[3], [1, 4]])
def test_an_auxiliary_classifier_after_the_last_module_is_rejected(shipped, auxiliary):
    with pytest.raises(UserError, match="auxiliary expects numbers below 3, the last module"):
        shipped("googlenet", PIXELS, 10, auxiliary=auxiliary)
