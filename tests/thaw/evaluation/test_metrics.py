import numpy as np
import pytest
from sklearn import metrics

from thaw.evaluation.metrics import (
    at_half,
    calibration,
    calibration_error,
    confusion,
    intervals,
    measure,
    per_class,
)
from thaw.runtime.tensorflow import keras


def guesses(classes: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities that are better than chance."""
    random = np.random.default_rng(classes)
    true = random.integers(classes, size=count)
    scores = random.normal(0, 1, (count, classes)) + 1.5 * np.eye(classes)[true]
    odds = np.exp(scores)
    return true, odds / odds.sum(axis=1, keepdims=True)


def test_two_classes_are_measured_as_by_scikit_learn_on_the_second():
    true, probabilities = guesses(2)
    predicted, positive = probabilities[:, 1] > 0.5, probabilities[:, 1]
    assert measure(true, probabilities, 15) == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(true, predicted),
            "precision": metrics.precision_score(true, predicted),
            "recall": metrics.recall_score(true, predicted),
            "f1": metrics.f1_score(true, predicted),
            "roc_auc": metrics.roc_auc_score(true, positive),
            "log_loss": metrics.log_loss(true, positive),
            "ece": calibration_error(true, probabilities, 15),
        }
    )


def test_more_classes_are_measured_as_by_scikit_learn_on_average():
    true, probabilities = guesses(4)
    predicted = probabilities.argmax(axis=1)
    result = measure(true, probabilities, 15)
    one_against_rest = [metrics.roc_auc_score(true == k, probabilities[:, k]) for k in range(4)]
    assert result["roc_auc"] == pytest.approx(np.mean(one_against_rest))
    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        assert result[name] == pytest.approx(score(true, predicted, average="macro"))
    own = probabilities[np.arange(len(true)), true]
    assert result["log_loss"] == pytest.approx(-np.log(own).mean())


def test_a_class_that_is_absent_does_not_count():
    true, probabilities = guesses(3)
    chosen = true != 1
    result = measure(true[chosen], probabilities[chosen], 15)
    of_two = [metrics.roc_auc_score(true[chosen] == k, probabilities[chosen, k]) for k in (0, 2)]
    assert result["roc_auc"] == pytest.approx(np.mean(of_two))
    assert all(np.isfinite(value) for value in result.values())
    certain = measure(np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]), 15)
    assert (certain["accuracy"], certain["recall"], certain["ece"]) == (1, 0, 0)
    assert certain["roc_auc"] is None


def test_intervals_of_many_small_classes_contain_a_perfect_estimate():
    """A resampling lacks many classes; counting them as errors would move the interval."""
    true = np.repeat(np.arange(100), 2)
    bounds_by_metric = intervals(true, np.eye(100)[true], 100)
    for name in ("precision", "recall", "f1", "roc_auc"):
        assert bounds_by_metric[name] == [1, 1]
    assert bounds_by_metric["accuracy"] == pytest.approx([200 / (200 + 1.96**2), 1], abs=1e-4)


def test_roc_auc_has_no_interval_if_it_would_take_long(monkeypatch):
    true, probabilities = guesses(4)
    whole = intervals(true, probabilities, 50)
    monkeypatch.setattr("thaw.evaluation.metrics.MOST_AREAS", 4 * 300 * 50 - 1)
    assert intervals(true, probabilities, 50) == {
        name: bounds for name, bounds in whole.items() if name != "roc_auc"
    }


def test_calibration_error_by_hand():
    """With 4 bins, confidences 0.6 and 0.7 are right once of two, 0.9 and 1.0 twice of two."""
    positive = np.array([0.4, 0.7, 0.9, 1.0])
    probabilities = np.stack([1 - positive, positive], axis=1)
    true = np.array([0, 0, 1, 1])
    groups = calibration(true, probabilities, 4)
    assert [group["count"] for group in groups] == [2, 2]
    assert [group["accuracy"] for group in groups] == [0.5, 1.0]
    assert [group["confidence"] for group in groups] == pytest.approx([0.65, 0.95])
    assert calibration_error(true, probabilities, 4) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)


@pytest.mark.parametrize("classes", [2, 4])
def test_intervals_contain_the_estimate_and_are_reproducible(classes):
    true, probabilities = guesses(classes)
    estimate = measure(true, probabilities, 15)
    bounds_by_metric = intervals(true, probabilities, 100)
    assert bounds_by_metric.keys() == estimate.keys() - {"ece"}, "resampling itself increases it"
    for name, (low, high) in bounds_by_metric.items():
        assert low < estimate[name] < high
    assert intervals(true, probabilities, 100) == bounds_by_metric


@pytest.mark.parametrize(("rows", "classes"), [(60, 2), (60, 4), (8, 3)])
def test_intervals_equal_those_of_separately_measured_resamplings(rows, classes):
    """Rounded scores have ties, and resamplings of 8 rows often lack a class."""
    random = np.random.default_rng(1)
    true = random.integers(classes, size=rows)
    scores = random.random((rows, classes)).round(1) + 0.05 + 0.3 * np.eye(classes)[true]
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    bounds_by_metric = intervals(true, probabilities, 200)
    draw, resampled = np.random.default_rng(0), []
    for _ in range(200):
        chosen = draw.integers(rows, size=rows)
        resampled.append(measure(true[chosen], probabilities[chosen], 10))
    shares = {"accuracy", "precision", "recall"} if classes == 2 else {"accuracy"}
    assert bounds_by_metric.keys() - shares
    for name in bounds_by_metric.keys() - shares:
        values = [values[name] for values in resampled if values[name] is not None]
        assert bounds_by_metric[name] == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_the_interval_of_accuracy_is_that_of_a_share():
    true = np.zeros(400, int)
    probabilities = np.where(np.arange(400)[:, None] < 320, [0.9, 0.1], [0.1, 0.9])
    low, high = intervals(true, probabilities, 400)["accuracy"]
    error = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == pytest.approx((0.8 - error, 0.8 + error), abs=0.01)


def test_a_perfect_score_on_few_images_has_an_interval():
    """Wilson 1927: n of n has the interval from n / (n + 1.96 squared) to 1."""
    true = np.repeat([0, 1], [30, 10])
    bounds_by_metric = intervals(true, np.eye(2)[true], 100)
    for name, count in (("accuracy", 40), ("precision", 10), ("recall", 10)):
        assert bounds_by_metric[name] == pytest.approx([count / (count + 1.96**2), 1], abs=1e-4)
    assert "precision" not in intervals(true, np.tile([0.9, 0.1], (40, 1)), 100)


def test_intervals_of_groups_are_wider_and_equal_those_of_separate_resamplings():
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), 10)
    true = random.integers(2, size=120)
    correct = np.repeat(random.random(12) < 0.7, 10)  # a group is right or wrong as a whole
    probabilities = np.where((true == correct)[:, None], [0.2, 0.8], [0.7, 0.3])
    bounds = intervals(true, probabilities, 300, groups)
    single = intervals(true, probabilities, 300)
    for name in ("accuracy", "recall", "f1", "log_loss"):
        assert bounds[name][1] - bounds[name][0] > 1.5 * (single[name][1] - single[name][0])
    draw, resampled = np.random.default_rng(0), []
    for _ in range(300):
        chosen = np.concatenate([np.flatnonzero(groups == g) for g in draw.integers(12, size=12)])
        resampled.append(measure(true[chosen], probabilities[chosen], 10))
    for name in bounds:
        values = [values[name] for values in resampled]
        assert bounds[name] == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_groups_of_one_row_have_nearly_the_interval_of_rows():
    true, probabilities = guesses(2)
    grouped = intervals(true, probabilities, 400, np.arange(len(true)))
    for name, bounds in intervals(true, probabilities, 400).items():
        assert grouped[name] == pytest.approx(bounds, abs=0.03)


def test_a_perfect_score_on_few_groups_has_the_interval_of_as_many_rows():
    true = np.tile([0, 1], 30)
    bounds = intervals(true, np.eye(2)[true], 100, np.repeat(np.arange(6), 10))
    assert bounds["accuracy"] == pytest.approx([6 / (6 + 1.96**2), 1], abs=1e-4)
    (low, high) = intervals(true, np.eye(2)[true], 100, np.zeros(60, int))["accuracy"]
    assert low < 0.25 and high == 1


def test_each_class_has_its_own_figures_and_the_confusion_its_counts():
    true = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.eye(3)[[0, 0, 1, 1, 1, 0]]
    assert confusion(true, probabilities) == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    result = per_class(true, probabilities, ["ant", "bee", "cat"])
    assert result["ant"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "count": 3}
    )
    assert result["bee"] == pytest.approx({"precision": 2 / 3, "recall": 1, "f1": 0.8, "count": 2})
    assert result["cat"] == {"precision": 0, "recall": 0, "f1": 0, "count": 1}


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_at_half_are_the_precision_and_recall_of_keras_on_one_hot_labels(classes):
    true, probabilities = guesses(classes)
    measured = (keras.metrics.Precision(thresholds=0.5), keras.metrics.Recall(thresholds=0.5))
    for metric in measured:
        metric.update_state(np.eye(classes)[true], probabilities)
    expected = [float(metric.result()) for metric in measured]
    result = at_half(true, probabilities)
    assert [result["precision"], result["recall"]] == pytest.approx(expected, rel=1e-6)
    if classes > 2:  # images without a probability above 0.5
        assert result["recall"] < metrics.accuracy_score(true, probabilities.argmax(axis=1))


def test_at_half_a_probability_of_a_half_predicts_no_class():
    true, unsure = np.array([0, 1]), np.array([[0.5, 0.5], [0.4, 0.6]])
    assert at_half(true, unsure) == {"precision": 1.0, "recall": 0.5}
    assert at_half(true, np.full((2, 4), 0.25)) == {"precision": 0.0, "recall": 0.0}
