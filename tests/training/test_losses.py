import numpy as np
import pytest

from stages.training.losses import activity, cross_entropy, focal

SIGMOID = np.array([[0.9], [0.2], [0.5]], "float32"), np.array([[1], [1], [0]], "float32")
SOFTMAX = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], "float32"), np.array([0, 2], "int32")
OF_THE_TRUE = {"a sigmoid unit": (*SIGMOID, [0.9, 0.2, 0.5]), "softmax": (*SOFTMAX, [0.7, 0.4])}
"""Predictions, labels and the probability of each true class."""


@pytest.mark.parametrize("case", OF_THE_TRUE)
def test_cross_entropy_is_minus_the_log_of_the_true_class_probability(case):
    predicted, true, own = OF_THE_TRUE[case]
    given = np.asarray(cross_entropy(true, predicted))
    assert given.shape == (len(own),)
    np.testing.assert_allclose(given, -np.log(own), rtol=1e-5)


@pytest.mark.parametrize("case", OF_THE_TRUE)
def test_focal_counts_what_is_sure_less(case):
    predicted, true, own = OF_THE_TRUE[case]
    own = np.array(own)
    np.testing.assert_allclose(focal(true, predicted), -((1 - own) ** 2) * np.log(own), rtol=1e-4)


def test_activity_is_the_mean_size_of_what_a_layer_gives():
    read = np.array([[[1.0, -3.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, -2.0]]], "float32")
    np.testing.assert_allclose(activity(None, None, read), [1.0, 2.0])
