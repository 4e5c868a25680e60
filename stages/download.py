"""Stage download: copy the images of the source into data/raw, unchanged."""

import csv

from thaw.config.base import read_params
from thaw.data.registry import source_module, validate_source
from thaw.storage.files import atomic_write
from thaw.storage.tables import SOURCE_COLUMNS


def main() -> None:
    """Write data/raw: the images, and index.csv with one row for each.

    The index has SOURCE_COLUMNS and the further columns of a manifest. Cells are empty where the
    source does not provide a value.
    """
    parameters = validate_source(read_params("dataset", "source"))
    with atomic_write("data/raw") as raw:
        raw.mkdir()
        rows = source_module(parameters.kind).collect(parameters, raw)
        columns = list(dict.fromkeys([*SOURCE_COLUMNS, *(key for row in rows for key in row)]))
        with open(raw / "index.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(rows, key=lambda row: row["path"]))
    print(f"{len(rows):,} images in data/raw")
