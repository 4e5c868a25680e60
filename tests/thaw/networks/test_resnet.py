import numpy as np

from tests.fixtures.networks import described, layers, trainable_count
from thaw.runtime.tensorflow import keras

PIXELS = (28, 28, 1)


def test_for_fashion_mnist_it_has_the_published_parameter_counts(shipped):
    model = shipped("resnet", PIXELS, 10)
    assert model.count_params() == 1_749_210
    assert trainable_count(model) == 1_748_154


def test_without_its_dense_layer_it_has_a_tenth_of_the_parameters(shipped):
    model = shipped("resnet", PIXELS, 10, units=[])
    flat = model.get_layer("flatten").output.shape[1]
    assert flat == 7 * 7 * 64
    without = 1_749_210 - (flat * 512 + 512) - (512 * 10 + 10) + (flat * 10 + 10)
    assert model.count_params() == without
    assert 0.07 < without / 1_749_210 < 0.13


def test_it_has_the_published_layers_and_initializers(shipped):
    model = shipped("resnet", PIXELS, 10)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert not any(layer.use_bias for layer in convolutions)
    assert sorted((c.filters, c.kernel_size[0]) for c in convolutions[1:]) == sorted(
        [
            shape
            for filters in (16, 32, 32, 64)
            for shape in ((filters, 1), (2 * filters, 3), (filters, 1), (filters, 1))
        ]
    )
    first = convolutions[0]
    assert (first.filters, first.kernel_size, first.strides) == (16, (3, 3), (2, 2))
    kernels = np.concatenate([np.ravel(layer.kernel) for layer in convolutions])
    assert abs(kernels.std() - 0.05) < 0.001 and abs(kernels.mean()) < 0.001
    assert layers(model)[-4:] == [
        "AveragePooling2D valid (2, 2)",
        "Flatten",
        "Dense 512 relu",
        "Dense 10 softmax",
    ]


def test_the_paths_of_a_block_have_the_published_layers(shipped):
    model = shipped("resnet", (8, 8, 1), 3, blocks=[3], stem_filters=2)
    start, paths = model.get_layer("conv2d"), []
    for tensor in model.get_layer("add").input:
        path = []
        while (layer := tensor._keras_history.operation) is not start:
            path.insert(0, described(layer))
            tensor = layer.input
        paths.append(path)
    main, shortcut = paths
    assert main == [
        "Conv2D 3 (1, 1) same linear",
        "BatchNormalization",
        "ReLU",
        "Conv2D 6 (3, 3) same linear",
        "BatchNormalization",
        "ReLU",
        "Conv2D 3 (1, 1) same linear",
    ]
    assert shortcut == ["BatchNormalization", "ReLU", "Conv2D 3 (1, 1) same linear"]


def test_a_block_adds_its_main_path_and_its_shortcut(shipped):
    """With a zero kernel in the main path only the shortcut contributes."""
    model = shipped("resnet", (8, 8, 1), 3, blocks=[2], stem_filters=2, units=[])
    start, added = model.get_layer("conv2d").output, model.get_layer("add").output
    last = model.get_layer("add").input[0]._keras_history.operation  # of the main path
    shortcut = model.get_layer("add").input[1]._keras_history.operation
    last.kernel.assign(np.zeros(last.kernel.shape))
    x = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    before, after = keras.Model(model.input, [start, added])(x)
    normal = np.maximum(before / np.sqrt(1 + 1e-3), 0)  # (batch, 4, 4, 2)
    expected = normal @ np.asarray(shortcut.kernel)[0, 0]
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-6)
    assert after.shape == (4, 4, 4, 2) and np.any(expected)
    end = [type(layer).__name__ for layer in model.layers[-4:]]
    assert end == ["ReLU", "AveragePooling2D", "Flatten", "Dense"]
