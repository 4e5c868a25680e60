import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from thaw.evaluation.curves import MOST_POINTS, write_curves

RECORD = {
    "start": None,
    "history": [
        {"loss": 0.9, "accuracy": 0.5, "val_loss": 0.8, "val_accuracy": 0.6},
        {"loss": 0.7, "accuracy": 0.7, "val_loss": 0.6, "val_accuracy": 0.8},
    ],
}


def guesses(classes: int, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    true = random.integers(classes, size=count)
    odds = np.exp(random.normal(0, 1, (count, classes)) + np.eye(classes)[true])
    return true, odds / odds.sum(axis=1, keepdims=True)


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the tables and reads them back by name."""

    def write(true, probabilities, classes, record=RECORD) -> dict[str, pd.DataFrame]:
        write_curves(tmp_path, true, probabilities, classes, record, bins=10)
        return {file.stem: pd.read_csv(file) for file in tmp_path.glob("*.csv")}

    return write


def test_every_plot_of_dvc_yaml_has_its_table_with_its_columns(written):
    tables = written(*guesses(2), ["cat", "dog"])
    assert {name: list(table.columns) for name, table in tables.items()} == {
        "loss": ["epoch", "loss", "series"],
        "accuracy": ["epoch", "accuracy", "series"],
        "confusion": ["actual", "predicted"],
        "roc": ["false_positive_rate", "recall", "series"],
        "precision_recall": ["recall", "precision", "series"],
        "reliability": ["confidence", "accuracy", "series"],
    }


def test_learning_curves_have_both_splits_and_a_trained_start(written):
    loss = written(*guesses(2), ["cat", "dog"])["loss"]
    assert loss.to_numpy().tolist() == [
        [1, 0.9, "train"],
        [1, 0.8, "validation"],
        [2, 0.7, "train"],
        [2, 0.6, "validation"],
    ]
    start = {**RECORD, "start": {"loss": 0.5, "accuracy": 0.9}}
    tables = written(*guesses(2), ["cat", "dog"], start)
    assert tables["accuracy"].iloc[0].tolist() == [0, 0.9, "validation"]
    alone = {"start": None, "history": [{"loss": 0.9, "accuracy": 0.5}]}
    assert set(written(*guesses(2), ["cat", "dog"], alone)["loss"]["series"]) == {"train"}


def test_two_classes_have_one_curve_for_the_positive_class(written):
    true, probabilities = guesses(2)
    tables = written(true, probabilities, ["cat", "dog"])
    roc, pr = tables["roc"], tables["precision_recall"]
    assert set(roc["series"]) == set(pr["series"]) == {"dog"}
    assert len(roc) <= MOST_POINTS and len(pr) <= MOST_POINTS
    assert roc.iloc[0, :2].tolist() == [0, 0] and roc.iloc[-1, :2].tolist() == [1, 1]
    area = np.trapezoid(roc["recall"], roc["false_positive_rate"])
    assert area == pytest.approx(roc_auc_score(true, probabilities[:, 1]), abs=0.01)
    area = np.trapezoid(pr["precision"], pr["recall"])
    assert area == pytest.approx(average_precision_score(true, probabilities[:, 1]), abs=0.02)


def test_more_classes_have_a_curve_each_unless_the_test_data_lack_them(written):
    true, probabilities = guesses(3)
    assert set(written(true, probabilities, ["a", "b", "c"])["roc"]["series"]) == {"a", "b", "c"}
    present = true != 1
    tables = written(true[present], probabilities[present], ["a", "b", "c"])
    assert set(tables["roc"]["series"]) == {"a", "c"}
    assert set(tables["confusion"]["actual"]) == {"a", "c"}


def test_the_confusion_table_has_a_row_per_image(written):
    true, probabilities = guesses(2)
    confusion = written(true, probabilities, ["cat", "dog"])["confusion"]
    right = (confusion["actual"] == confusion["predicted"]).mean()
    assert right == (probabilities.argmax(axis=1) == true).mean() and len(confusion) == len(true)


def test_reliability_includes_the_perfect_line(written):
    reliability = written(*guesses(4), ["a", "b", "c", "d"])["reliability"]
    perfect = reliability[reliability["series"] == "perfect"]
    assert perfect[["confidence", "accuracy"]].to_numpy().tolist() == [[0.25, 0.25], [1, 1]]
    model = reliability[reliability["series"] == "model"]
    assert len(model) > 3 and model["confidence"].is_monotonic_increasing
