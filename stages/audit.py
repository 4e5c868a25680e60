"""Audit: find likely label errors, outliers, near-duplicates and confused classes."""

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
    results/learning_curves/NAME.csv, see thaw.evaluation.audit.AuditResult."""
    parameters = load_section(Audit, "audits", name)
    seed, threads = read_value(Common, "seed"), read_value(Common, "threads")
    rows, features = SplitTable(), ArrayFolder(f"data/features/{parameters.features}")
    with threadpool_limits(threads):
        found = audit_data(parameters, rows, features, seed)
    summary = found.summary
    with atomic_write(f"results/audits/{name}") as folder:
        folder.mkdir()
        _write(found.images, folder / "images.csv")
        _write(found.pairs, folder / "pairs.csv")
        _write(found.classes, folder / "classes.csv")
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    with atomic_write(f"results/learning_curves/{name}.csv") as part:
        _write(found.learning_curve, part)
    print(
        f"{sum(summary['likely_errors'].values()):,} of {summary['images']:,} labels are likely wrong, "
        f"{summary['outliers']:,} images are outliers, {summary['near_duplicate_pairs']:,} near-duplicate "
        f"pairs lie in different splits"
    )
    for row in found.learning_curve.itertuples():
        print(f"{row.images:>9,} labelled training images: accuracy {row.accuracy:.2%}")


def _write(rows: pd.DataFrame, path: Path) -> None:
    rows.to_csv(path, index=False, lineterminator="\n", float_format="%.5f")
