"""Say in a few sentences how the data were split."""

from typing import Any

import pandas as pd

from thaw.report.run_results import DRAWN
from thaw.storage.tables import SPLIT_GROUP


def describe_split(table: pd.DataFrame, index: pd.DataFrame, split: dict[str, Any]) -> list[str]:
    """Return sentences on where the splits come from and which images stay together.

    Args:
        table: All rows of data/split.csv.
        index: All rows of data/index.csv.
        split: The section `dataset.split`.
    """
    given = set(index["split"]) - {""}
    if "validation" in given and "test" not in given:
        given = {"test"}  # see thaw.data.splitting
    shares = {"test": "of all images", "validation": "of the others"}
    used = set(table["split"])
    own = [name for name in shares if name in given and name in used]
    drawn = [
        f"{name} ({100 * split[name]:.3g} % {shares[name]})"
        for name in shares
        if name not in given and name in used
    ]
    sentences = []
    if own:
        sentences.append(f"The {' and '.join(own)} images are those of the data set's own split.")
    if drawn:
        equal = f", with equal shares of each {' and '.join(split['stratify'])} in every split"
        sentences.append(
            f"Drawn at random with seed {split['seed']}: {' and '.join(drawn)}"
            f"{equal if split['stratify'] else ''}."
        )
    if SPLIT_GROUP not in table:
        return [
            *sentences,
            "Only identical images are kept together. If several images show one patient, part or "
            "day, set dataset.split.group. Otherwise the test accuracy is too high.",
        ]
    rows = table[table["split"].isin(DRAWN)]
    counts = rows.groupby("split")[SPLIT_GROUP].nunique()
    where = ", ".join(f"{counts.get(name, 0):,} in {name}" for name in DRAWN if name in used)
    sentences.append(
        f"No group is in two splits. Groups are by dataset.split.group = {split.get('group')}: "
        f"{counts.sum():,} groups, {where}. The largest has "
        f"{rows[SPLIT_GROUP].value_counts().iloc[0]:,} of {len(rows):,} images. Confidence "
        f"intervals resample groups."
    )
    return sentences
