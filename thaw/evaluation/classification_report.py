"""scikit-learn's classification report, to read and to compute with."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report


def write_report(
    folder: Path, true: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> None:
    """Write report.txt and report.csv into `folder`: precision, recall, f1 and count of each class
    and their means.

    Args:
        true: (n,) class numbers.
        probabilities: (n, classes).
    """
    given = {
        "labels": np.arange(len(classes)),
        "target_names": classes,
        "zero_division": 0.0,
    }
    predicted = probabilities.argmax(axis=1)
    text = classification_report(true, predicted, digits=4, **given)
    (folder / "report.txt").write_text(text, encoding="utf-8")
    table = classification_report(true, predicted, output_dict=True, **given)
    accuracy = table.pop("accuracy", None)
    rows = pd.DataFrame(table).T.rename_axis("class")
    rows["support"] = rows["support"].astype(int)
    if accuracy is not None:
        rows.loc["accuracy", ["f1-score", "support"]] = accuracy, len(true)
    rows.round(5).to_csv(folder / "report.csv", lineterminator="\n")
