import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw.models.logistic import fit, load, pooled, predict, save


@pytest.mark.parametrize("classes", [2, 3])
def test_it_equals_scikit_learns_logistic_regression_after_saving_and_loading(tmp_path, classes):
    random = np.random.default_rng(0)
    inputs = random.normal(3, 5, (90, 4))
    labels = (inputs[:, 0] + random.normal(0, 3, 90)).argsort().argsort() * classes // 90
    save(fit(inputs, labels, np.ones(90), C=0.1, max_iter=1000), tmp_path / "model.npz")
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    expected.fit(inputs, labels)
    predicted = predict(load(tmp_path / "model.npz"), inputs)
    np.testing.assert_allclose(predicted, expected.predict_proba(inputs), rtol=1e-6)


def test_a_row_of_weight_two_counts_as_two_rows():
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(40, 3)), np.arange(40) % 2
    weights = 1.0 + (np.arange(40) < 10)
    weighted = fit(inputs, labels, weights, C=1.0, max_iter=1000)
    repeats = np.r_[np.arange(40), np.arange(10)]
    repeated = fit(inputs[repeats], labels[repeats], np.ones(50), C=1.0, max_iter=1000)
    np.testing.assert_allclose(predict(weighted, inputs), predict(repeated, inputs), atol=1e-4)


def test_features_are_pooled_over_height_and_width():
    features = np.random.default_rng(0).normal(size=(600, 3, 4, 5)).astype("float16")
    rows = np.random.default_rng(1).permutation(600)[:500]
    averages, both = (pooled(features[rows], pooling) for pooling in ("average", "average_max"))
    np.testing.assert_allclose(averages, features[rows].astype("float64").mean(axis=(1, 2)))
    assert (both[:, :5] == averages).all()
    assert (both[:, 5:] == features[rows].max(axis=(1, 2))).all()
    assert averages.dtype == both.dtype == "float64"
    assert pooled(features[:0], "average").shape == (0, 5)
    assert pooled(features[:0], "average_max").shape == (0, 10)
