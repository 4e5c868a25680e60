import numpy as np

from stages.engine import keras
from stages.networks.backbone import prepared
from stages.networks.output import output, probabilities
from stages.networks.predict import predict


def test_a_stored_network_gives_probabilities(tmp_path):
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Flatten()(prepared(pixels, "VGG16", "own"))
    model = keras.Model(pixels, output(x, 2))
    model.save(tmp_path / "model.keras")
    inputs = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype="uint8")
    given = predict(tmp_path / "model.keras", inputs, batch_size=2)
    expected = probabilities(model.predict(inputs, verbose=0))
    # batches of another size sum in another order: by 1e-5 here, where terms are in the hundreds
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    assert given.shape == (5, 2)
