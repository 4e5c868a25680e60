"""Write scikit-learn's classification report as text and as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report


def write_report(
    folder: Path, true: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> None:
    """Write report.txt and report.csv: precision, recall, F1 and count per class, and averages.

    Args:
        folder: to write to.
        true: (n,) class numbers.
        probabilities: (n, classes).
        classes: their labels.
    """
    options: dict[str, Any] = {
        "labels": np.arange(len(classes)),
        "target_names": classes,
        "zero_division": 0.0,
    }
    predicted = probabilities.argmax(axis=1)
    text = classification_report(true, predicted, digits=4, **options)
    (folder / "report.txt").write_text(text, encoding="utf-8")
    table = classification_report(true, predicted, output_dict=True, **options)
    accuracy = table.pop("accuracy", None)
    rows = pd.DataFrame(table).T.rename_axis("class")
    rows["support"] = rows["support"].astype(int)
    if accuracy is not None:
        rows.loc["accuracy", ["f1-score", "support"]] = accuracy, len(true)
    rows.round(5).to_csv(folder / "report.csv", lineterminator="\n")
