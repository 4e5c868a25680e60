import numpy as np
import pytest

from thaw.models.layers import apply_activation
from thaw.runtime.tensorflow import keras

INPUTS = np.array([[-2.0, -0.5, 0.0, 3.0]], "float32")
EXPECTED = {
    "none": [-2.0, -0.5, 0.0, 3.0],
    "relu": [0.0, 0.0, 0.0, 3.0],
    "leaky_relu": [-0.6, -0.15, 0.0, 3.0],
    "prelu": [-0.6, -0.15, 0.0, 3.0],
    "elu": [np.expm1(-2), np.expm1(-0.5), 0.0, 3.0],
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_each_activation_computes_its_function(kind):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, apply_activation(inputs, kind, 0.3))
    np.testing.assert_allclose(model(INPUTS), [EXPECTED[kind]], rtol=1e-6)


@pytest.mark.parametrize(("shape", "count"), [((4,), 4), ((5, 6, 4), 4)])
def test_only_prelu_learns_a_slope_for_each_channel(shape, count):
    for kind in EXPECTED:
        inputs = keras.Input(shape)
        model = keras.Model(inputs, apply_activation(inputs, kind, 0.3))
        assert model.count_params() == (count if kind == "prelu" else 0)
        assert model.output_shape == (None, *shape)
