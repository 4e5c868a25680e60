"""Audit the data: find likely label errors, outliers, near-duplicates and confused classes."""

import json
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from thaw.config.audit import Audit
from thaw.config.base import Common, load_section, read_value
from thaw.data.split_table import SplitTable
from thaw.evaluation.audit import audit_data
from thaw.storage.arrays import ArrayFolder
from thaw.storage.files import atomic_write


def main(name: str) -> None:
    """Write results/audits/NAME/ (images.csv, pairs.csv, classes.csv, summary.json) and
    results/learning_curves/NAME.csv. See thaw.evaluation.audit.AuditResult.
    """
    parameters = load_section(Audit, "audits", name)
    seed, threads = read_value(Common, "seed"), read_value(Common, "threads")
    rows, features = SplitTable(), ArrayFolder(f"data/features/{parameters.features}")
    with threadpool_limits(threads):
        result = audit_data(parameters, rows, features, seed)
    summary = result.summary
    with atomic_write(f"results/audits/{name}") as folder:
        folder.mkdir()
        _write(result.images, folder / "images.csv")
        _write(result.pairs, folder / "pairs.csv")
        _write(result.classes, folder / "classes.csv")
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    with atomic_write(f"results/learning_curves/{name}.csv") as part:
        _write(result.learning_curve, part)
    errors = sum(summary["likely_errors"].values())
    print(
        f"{errors:,} of {summary['images']:,} labels are likely wrong, {summary['outliers']:,} "
        f"images are outliers, {summary['near_duplicate_pairs']:,} near-duplicate pairs are in "
        f"different splits"
    )
    for row in result.learning_curve.itertuples():
        print(f"{row.images:>9,} labelled training images: accuracy {row.accuracy:.2%}")


def _write(rows: pd.DataFrame, path: Path) -> None:
    rows.to_csv(path, index=False, lineterminator="\n", float_format="%.5f")
