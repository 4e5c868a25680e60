import numpy as np

from thaw.models.backbones.applications import preprocess_pixels
from thaw.models.layers import output_layer, to_probabilities
from thaw.models.prediction import predict_batches
from thaw.runtime.tensorflow import keras


def test_batches_are_predicted_as_keras_does():
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Flatten()(preprocess_pixels(pixels, "VGG16", "own"))
    model = keras.Model(pixels, output_layer(x, 2))
    inputs = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype="uint8")
    predicted = predict_batches(model, inputs, batch_size=2)
    expected = to_probabilities(model.predict(inputs, verbose=0))
    # other batch sizes sum in another order, which changes sums of hundreds by 1e-5
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)
    assert predicted.shape == (5, 2)
