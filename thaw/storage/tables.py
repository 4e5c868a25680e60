"""The tables that stages exchange as CSV files: their columns, and reading them."""

from pathlib import Path

import pandas as pd

from thaw.errors import UserError

SOURCE_COLUMNS = [
    "path",
    "label",
    "group",
    "confidence",
    "probability",
    "split",
]  # data/raw/index.csv
INDEX_COLUMNS = ["path", "sha256", "pixel_sha256", *SOURCE_COLUMNS[1:], "problem"]  # data/index.csv
SPLIT_COLUMNS = ["pixel_sha256", "label", "class", "group", "confidence", "split"]  # data/split.csv
RESTORE_HINT = "`dvc checkout` brings it as it was, or `dvc repro` makes it anew."


def read_table(path: str | Path, columns: list[str], **options) -> pd.DataFrame:
    """A CSV file that a stage wrote.

    Args:
        columns: that it must have.
        options: of pandas.read_csv.

    Raises:
        UserError: it is damaged, empty, or lacks a column.
    """
    try:
        held = pd.read_csv(path, keep_default_na=False, encoding="utf-8", **options)
    except Exception as error:  # pandas raises nearly everything on what is no table
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {reason!a:.200}. {RESTORE_HINT}") from None
    if missing := [name for name in columns if name not in held]:
        raise UserError(f"{path} has no column {', '.join(missing)}. {RESTORE_HINT}")
    if held.empty:
        raise UserError(f"{path} has no rows. {RESTORE_HINT}")
    return held
