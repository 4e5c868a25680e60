"""The index and the split, read as what they should be."""

from pathlib import Path

import pandas as pd

from stages.command import Refusal

AGAIN = "`dvc checkout` brings it as it was, or `dvc repro` makes it anew."


def table(path: str | Path, columns: list[str], **options) -> pd.DataFrame:
    """A CSV file that a stage wrote.

    Args:
        columns: that it must have.
        options: of pandas.read_csv.

    Raises:
        Refusal: it is damaged, empty, or lacks a column.
    """
    try:
        held = pd.read_csv(path, keep_default_na=False, encoding="utf-8", **options)
    except Exception as error:  # pandas raises nearly everything on what is no table
        reason = " ".join(str(error).split())
        raise Refusal(f"{path} cannot be read: {reason!a:.200}. {AGAIN}") from None
    if missing := [name for name in columns if name not in held]:
        raise Refusal(f"{path} has no column {', '.join(missing)}. {AGAIN}")
    if held.empty:
        raise Refusal(f"{path} has no rows. {AGAIN}")
    return held
