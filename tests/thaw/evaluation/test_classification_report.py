import csv

import numpy as np
import pytest
from sklearn import metrics

from thaw.evaluation.classification_report import write_report

CLASSES = ["ant", "bee", "cat"]
TRUE = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 0])


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a report and reads it back, the table by class."""

    def write(true, predicted, classes) -> tuple[str, dict[str, dict]]:
        write_report(tmp_path, true, np.eye(len(classes))[predicted], classes)
        with open(tmp_path / "report.csv", newline="") as file:
            table = {row.pop("class"): row for row in csv.DictReader(file)}
        return (tmp_path / "report.txt").read_text(), table

    return write


def test_the_text_is_that_of_scikit_learn(written):
    text, _ = written(TRUE, PREDICTED, CLASSES)
    assert text == metrics.classification_report(
        TRUE, PREDICTED, target_names=CLASSES, digits=4, zero_division=0.0
    )


def test_the_table_has_the_figures_of_each_class_and_their_means(written):
    _, table = written(TRUE, PREDICTED, CLASSES)
    assert list(table) == [*CLASSES, "macro avg", "weighted avg", "accuracy"]
    figures = {name: [row[key] for key in FIGURES] for name, row in table.items()}
    assert figures["ant"] == ["0.66667", "0.66667", "0.66667", "3"]
    assert figures["bee"] == ["0.66667", "1.0", "0.8", "2"]
    assert figures["cat"] == ["0.0", "0.0", "0.0", "1"]
    assert figures["macro avg"] == ["0.44444", "0.55556", "0.48889", "6"]
    assert figures["accuracy"] == ["", "", "0.66667", "6"]


FIGURES = ("precision", "recall", "f1-score", "support")


@pytest.mark.parametrize("lacking", ["true", "predicted"])
def test_a_class_without_test_images_or_predictions_has_a_row(written, lacking):
    true, predicted = np.array([0, 1, 1]), np.array([0, 1, 2])
    if lacking == "predicted":
        true, predicted = predicted, true
    text, table = written(true, predicted, CLASSES)
    assert table["cat"]["support"] == ("0" if lacking == "true" else "1")
    assert table["cat"]["f1-score"] == "0.0" and "cat" in text
    assert table["accuracy"]["f1-score"] == "0.66667"


def test_the_same_results_are_the_same_bytes(written, tmp_path, content):
    written(TRUE, PREDICTED, CLASSES)
    first = content(tmp_path)
    written(TRUE, PREDICTED, CLASSES)
    assert content(tmp_path) == first and set(first) == {"report.txt", "report.csv"}
