"""Search the head and the hyperparameters of a subnet by cross-validation on training images."""

from pathlib import Path

import pandas as pd
import yaml

from thaw.config.base import Common, read_params, read_value
from thaw.config.dataset import Dataset
from thaw.config.subnet import Tuned, validate_subnet
from thaw.data.split_table import SplitTable
from thaw.storage.arrays import ArrayFolder
from thaw.storage.files import atomic_write
from thaw.training.head_scores import HeadScores
from thaw.training.search import run_search


def main(name: str) -> None:
    """Write data/searches/NAME.yaml, the winner, and results/searches/NAME/ (trials.csv and
    importance.csv).
    """
    tuned = validate_subnet(read_params("subnets", name), name)
    assert isinstance(tuned, Tuned), "derived.searches lists no other kind"
    rows = SplitTable(confidence_weight=read_value(Dataset, "dataset", "confidence_weight"))
    features = ArrayFolder(f"data/features/{tuned.features}")
    seed = read_value(Common, "seed")
    scores = HeadScores(tuned, name, rows.of("train"), features, len(rows.classes), seed)
    result = run_search(tuned.heads, tuned.space, tuned.search, seed, scores)
    with atomic_write(f"results/searches/{name}") as folder:
        folder.mkdir()
        _write(result.trials_table(), folder / "trials.csv")
        _write(result.importance_table(), folder / "importance.csv")
    best = result.trials[result.best]
    with atomic_write(f"data/searches/{name}.yaml") as part:
        part.write_text(
            f"# Trial {result.best} of the search {name}: log loss {best.loss:.4f} in "
            f"cross-validation. To keep it, copy it to\n# conf/subnet/NAME.yaml.\n"
            + yaml.safe_dump(result.winner, sort_keys=False)
        )


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.6f")
