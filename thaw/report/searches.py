"""Read the results of a hyperparameter search for the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from thaw.report import charts
from thaw.storage.tables import read_table

MOST_TRIALS = 10  # rows of the table, best first


@dataclass
class SearchSection:
    """A search as the page shows it.

    Attributes:
        counts: number of trials by state.
        trials: the complete trials with the lowest log loss, best first: `trial`, `log_loss`,
            `accuracy` and `values`, the parameters as text.
        charts: (title, SVG) of the trials and of the importance of the parameters.
    """

    counts: dict[str, int]
    trials: list[dict[str, Any]]
    charts: list[tuple[str, Markup]]


def read_search(name: str) -> SearchSection | None:
    """Return the search that chose the parameters of a model, or None if there was none."""
    folder = Path(f"results/searches/{name}")
    if not (folder / "trials.csv").exists():
        return None
    columns = ["trial", "state", "model", "log_loss", "accuracy"]
    trials = read_table(folder / "trials.csv", columns, na_values=[""])
    first = list(trials.columns).index("accuracy") + 1
    names = [column for column in trials.columns[first:] if "." in column]
    complete = trials[trials["state"] == "complete"]
    best = complete.sort_values("log_loss", kind="stable").head(MOST_TRIALS)
    rows = [
        {
            **{key: row[key] for key in ("trial", "log_loss", "accuracy")},
            "values": _values(row["model"], {n: row[n] for n in names if pd.notna(row[n])}),
        }
        for row in best.to_dict("records")
    ]
    drawn = [("Search: log loss by trial", Markup(charts.search_trials(name, complete)))]
    columns = ["parameter", "importance"]
    importance = read_table(folder / "importance.csv", columns, may_be_empty=True)
    if len(importance):
        title = "Search: importance of each parameter"
        drawn.append((title, Markup(charts.importance(name, importance))))
    return SearchSection(trials["state"].value_counts().to_dict(), rows, drawn)


def _values(model: str, values: dict[str, Any]) -> str:
    parts = [f"{name.removeprefix(f'{model}.')} = {value}" for name, value in values.items()]
    return f"{model}: {', '.join(parts)}" if parts else model
