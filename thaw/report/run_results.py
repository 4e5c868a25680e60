"""Read the results of the current project. Missing and outdated files are reported, not raised."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thaw.config.base import read_params
from thaw.data.split_table import join_paths
from thaw.errors import UserError
from thaw.evaluation.predictions import read_maps, read_predictions
from thaw.models.bundle import read_json_object
from thaw.storage import tables
from thaw.storage.arrays import ArrayFolder

KINDS = {"subnets": "subnet", "networks": "network", "finetunes": "fine-tuning"}
TRAINING_STAGES = {
    "subnet": "train_subnet",
    "network": "train_network",
    "fine-tuning": "finetune",
}
DRAWN = ["train", "validation", "test"]  # splits whose images have features and an audit
OUTDATED = "computed for another split or dataset: run dvc repro to update it"

Features = tuple[str, ArrayFolder]  # a backbone's name and its cached features


@dataclass
class Model:
    """A model of params.yaml and the results that exist for it.

    Attributes:
        name: its key in params.yaml.
        kind: subnet, network or fine-tuning.
        details: content of results/details/NAME.json; None if it was not evaluated.
        record: content of models/NAME/record.json.
        size: bytes of the model's files.
        seconds: duration of its last successful training, from the run log.
        keys: `pixel_sha256` of each test image.
        probabilities: shape (n, classes), float64, a row for each of `keys`.
        maps: Grad-CAM maps (height, width), uint8, by row number of `keys`.
        problem: what is missing or outdated, and the command that restores it.
    """

    name: str
    kind: str
    details: dict[str, Any] | None = None
    record: dict[str, Any] | None = None
    size: int | None = None
    seconds: float | None = None
    keys: list[str] | None = None
    probabilities: np.ndarray | None = None
    maps: dict[int, np.ndarray] | None = None
    problem: str | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """The test metrics. Requires `details`."""
        assert self.details is not None
        return dict(self.details["metrics"])

    @property
    def validation(self) -> float | None:
        """Validation accuracy, measured as the test accuracy is; None without validation data."""
        measured = (self.details or {}).get("validation")
        return measured["accuracy"] if measured else None

    @property
    def features(self) -> str | None:
        """The backbone whose cached features the model was trained on, if any."""
        return ((self.record or {}).get("settings") or {}).get("features")


@dataclass
class RunResults:
    """Everything that the report shows.

    Attributes:
        parameters: content of params.yaml.
        models: in the order of params.yaml.
        table: data/split.csv with the path and file digest of each row; None if it is missing
            or does not belong to data/index.csv.
        index: data/index.csv; None if it or the split is missing.
        images: data/images; None if missing or outdated.
        classes: class names of the evaluated models.
        runs: lines of the run log.
        problems: one line for each missing or outdated result, by the name of that result.
    """

    parameters: dict[str, Any]
    models: list[Model]
    table: pd.DataFrame | None
    index: pd.DataFrame | None
    images: ArrayFolder | None
    classes: list[str]
    runs: list[dict[str, Any]]
    problems: dict[str, str]

    @property
    def evaluated(self) -> list[Model]:
        """The models that have test metrics."""
        return [model for model in self.models if model.details]

    @property
    def with_predictions(self) -> list[Model]:
        """The models that have a prediction for each test image of the current split."""
        return [model for model in self.models if model.probabilities is not None]

    def backbone(self, name: str) -> str:
        """Return a backbone's name, followed by its application if that is another name."""
        application = (
            (self.parameters.get("backbones") or {}).get(name, {}).get("application", name)
        )
        return name if name.lower() == application.lower() else f"{name} ({application})"

    def up_to_date(self, folder: str) -> ArrayFolder | None:
        """Open an array folder if it has a row for every image of the current split.

        Args:
            folder: data/images or a folder of features. If images are missing in it,
                `problems` gets a line.

        Returns:
            The array folder; None if it is missing or outdated.
        """
        if not Path(folder, "keys.txt").exists():
            return None
        arrays = ArrayFolder(folder)
        if self.table is not None:
            drawn = self.table["split"].isin(DRAWN)
            if not set(self.table.loc[drawn, "pixel_sha256"]) <= set(arrays.keys):
                self.problems[folder] = OUTDATED
                return None
        return arrays


def find_results() -> RunResults:
    """Read the results of the project in the current folder.

    Raises:
        UserError: there is no params.yaml, or no model was evaluated yet.
    """
    if not Path("params.yaml").exists():
        raise UserError(
            "there is no params.yaml in this folder. Run `thaw report` in the project's folder, "
            "after `dvc repro`."
        )
    parameters = read_params()
    runs = read_runs()
    models = [
        _model(name, kind, runs)
        for section, kind in KINDS.items()
        for name in parameters.get(section) or {}
    ]
    evaluated = [model.details["classes"] for model in models if model.details]
    if not evaluated:
        names = ", ".join(model.name for model in models) or "there is none"
        raise UserError(
            f"no model of params.yaml ({names}) has results yet. Run `dvc repro`, or `dvc pull` "
            f"to fetch results that were computed elsewhere."
        )
    table, index = read_table()
    current = None if table is None else split_classes(table)
    classes = current if current is not None and current in evaluated else evaluated[0]
    _drop_outdated(models, table, classes)
    problems = {model.name: model.problem for model in models if model.problem}
    if table is None and index is not None:
        problems["data/split.csv"] = "lists other images than data/index.csv: run dvc repro"
    results = RunResults(parameters, models, table, index, None, classes, runs, problems)
    results.images = results.up_to_date("data/images")
    return results


def split_classes(table: pd.DataFrame) -> list[str]:
    """Return the class names of a split in the order of their numbers."""
    drawn = table[table["split"].isin(DRAWN)].drop_duplicates("class")
    return list(drawn.sort_values("class", key=lambda numbers: numbers.astype(int))["label"])


def _drop_outdated(models: list[Model], table: pd.DataFrame | None, classes: list[str]) -> None:
    """Clear results for other classes than `classes`, and predictions for another split."""
    for model in models:
        if model.details and model.details["classes"] != classes:
            model.details = model.keys = model.probabilities = model.maps = None
            model.problem = f"its evaluation was {OUTDATED}"
        elif model.keys is not None and table is not None:
            tests = table.loc[table["split"] == "test", "pixel_sha256"].tolist()
            if model.keys != tests or split_classes(table) != classes:
                model.keys = model.probabilities = model.maps = None
                model.problem = f"its predictions file was {OUTDATED}"


def _model(name: str, kind: str, runs: list[dict[str, Any]]) -> Model:
    model = Model(name, kind)
    folder = Path(f"models/{name}")
    model.record = _json(folder / "record.json")
    if folder.is_dir():
        model.size = sum(f.stat().st_size for f in folder.glob("model.*"))
    stage = f"{TRAINING_STAGES[kind]} {name}"
    seconds = [run["seconds"] for run in runs if run["stage"] == stage and run.get("exit") == 0]
    model.seconds = seconds[-1] if seconds else None
    model.details = _json(Path(f"results/details/{name}.json"))
    if model.details is None:
        model.problem = "it was not evaluated yet: run dvc repro"
        return model
    predictions = Path(f"results/predictions/{name}")
    if not (predictions / "predictions.csv").exists():
        model.problem = "its predictions are missing: run dvc pull or dvc repro"
        return model
    model.keys, _, model.probabilities = read_predictions(predictions)
    model.maps = read_maps(predictions)
    return model


def read_table() -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Return the split with the path and digest of each file, and the index.

    Returns:
        data/split.csv with the columns `path` and `sha256` of data/index.csv, None if the two
        list different images; and data/index.csv. (None, None) if either file is missing.
    """
    if not (Path("data/split.csv").exists() and Path("data/index.csv").exists()):
        return None, None
    index = tables.read_table("data/index.csv", tables.INDEX_COLUMNS, dtype=str)
    table = tables.read_table("data/split.csv", tables.SPLIT_COLUMNS, dtype=str)
    return join_paths(table, index), index


def read_runs() -> list[dict[str, Any]]:
    """Return the lines of the run log: stage, started, seconds, exit, peak_mb.

    Malformed lines are skipped, because a killed process may leave half a line.
    """
    path = Path("logs/runs.jsonl")
    runs: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                run = json.loads(line)
                run["seconds"] = float(run["seconds"])
                runs.append({**run, "stage": str(run["stage"]), "started": str(run["started"])})
            except (ValueError, KeyError, TypeError):
                continue
    return runs


def _json(path: Path) -> dict[str, Any] | None:
    return read_json_object(path, path.read_bytes) if path.exists() else None
