"""Stage download: bring the images here, as they are, with what is known of each."""

import csv
from pathlib import Path

from stages.command import whole
from stages.params.base import read
from stages.params.dataset import reader, source

COLUMNS = ["path", "label", "group", "confidence", "probability", "split"]


def main() -> None:
    """Write data/raw: the files, and index.csv with a row for each (an empty cell where the
    source does not say)."""
    parameters = source(read("dataset", "source"))
    with whole("data/raw") as raw:
        raw.mkdir()
        rows = reader(parameters.kind).collect(parameters, raw)
        with open(raw / "index.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(rows, key=lambda row: row["path"]))
    print(f"{len(rows)} images in {Path('data/raw')}")
