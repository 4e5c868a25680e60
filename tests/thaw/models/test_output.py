import numpy as np
import pytest

from thaw.models.layers import output_layer, to_probabilities
from thaw.runtime.tensorflow import compute_precision, keras


@pytest.mark.parametrize(
    ("classes", "kind", "units", "activation"),
    [(2, "auto", 1, "sigmoid"), (2, "softmax", 2, "softmax"), (5, "auto", 5, "softmax")],
)
def test_the_output_layer_depends_on_the_classes_and_computes_in_float32(
    classes, kind, units, activation
):
    with compute_precision("bfloat16"):
        tensor = output_layer(keras.Input((8,)), classes, kind)
    assert tensor.shape == (None, units) and tensor.dtype == "float32"
    assert tensor._keras_history.operation.activation.__name__ == activation


def test_probabilities_have_a_column_for_each_class_and_sum_to_one():
    np.testing.assert_allclose(to_probabilities(np.array([[0.25], [1.0]])), [[0.75, 0.25], [0, 1]])
    probabilities = to_probabilities(np.array([[0.2, 0.3, 0.5000001]], "float32"))
    assert probabilities.dtype == "float64" and probabilities.sum() == pytest.approx(1, abs=1e-12)
