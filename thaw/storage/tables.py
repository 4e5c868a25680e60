"""The CSV tables that stages exchange: their columns, and how they are read."""

from pathlib import Path
from typing import Any

import pandas as pd

from thaw.errors import UserError

# data/raw/index.csv
SOURCE_COLUMNS = ["path", "label", "group", "confidence", "probability", "split"]
INDEX_COLUMNS = ["path", "sha256", "pixel_sha256", *SOURCE_COLUMNS[1:], "problem"]  # data/index.csv
SPLIT_COLUMNS = ["pixel_sha256", "label", "class", "group", "confidence", "split"]  # data/split.csv
SPLIT_GROUP = "split_group"  # a further column of data/split.csv if dataset.split.group is set
RESTORE_HINT = "`dvc checkout` restores it, or `dvc repro` computes it again."


def read_table(
    path: str | Path, columns: list[str], may_be_empty: bool = False, **options: Any
) -> pd.DataFrame:
    """Return a CSV file that a stage wrote.

    Args:
        path: the file.
        columns: the columns that it must have.
        may_be_empty: whether it may have no rows.
        options: of `pandas.read_csv`.

    Raises:
        UserError: the file is missing, damaged or empty, or lacks a column.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, encoding="utf-8", **options)
    except PermissionError:  # its message is better
        raise
    except Exception as error:  # pandas raises many types for damaged files
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {reason!a:.200}. {RESTORE_HINT}") from None
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path} has no column {', '.join(missing)}. {RESTORE_HINT}")
    if table.empty and not may_be_empty:
        raise UserError(f"{path} has no rows. {RESTORE_HINT}")
    return table
