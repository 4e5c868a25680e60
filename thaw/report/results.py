"""What a run left in this repository, read for the report; what is missing is said, not raised."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from thaw.config.base import read_params
from thaw.data.split_table import join_paths
from thaw.errors import UserError
from thaw.evaluation.predictions import read_maps, read_predictions
from thaw.storage.arrays import ArrayFolder

KINDS = {"subnets": "subnet", "networks": "network", "finetunes": "fine-tuning"}
TRAINING = {"subnet": "train_subnet", "network": "train_network", "fine-tuning": "finetune"}


@dataclass
class Model:
    """A model that params.yaml has, and what is there of it.

    Attributes:
        details: of results/details; none where it was not evaluated.
        record: of models/NAME/record.json.
        size: bytes of models/NAME.
        seconds: of its training, by the run log.
        keys: the identities of the test images.
        probabilities: (n, classes), of `keys`.
        maps: where it looked, by the number of a test image.
        problem: what is missing, and what brings it.
    """

    name: str
    kind: str
    details: dict | None = None
    record: dict | None = None
    size: int | None = None
    seconds: float | None = None
    keys: list[str] | None = None
    probabilities: np.ndarray | None = None
    maps: dict[int, np.ndarray] | None = None
    problem: str | None = None

    @property
    def metrics(self) -> dict:
        return self.details["metrics"]

    @property
    def validation(self) -> float | None:
        """Accuracy on validation data of the weights that were kept."""
        kept = (self.record or {}).get("kept")
        if kept is None:
            return None
        if kept == 0:
            return (self.record["start"] or {}).get("accuracy")
        history = self.record["history"]
        return history[kept - 1].get("val_accuracy") if kept <= len(history) else None

    @property
    def features(self) -> str | None:
        return ((self.record or {}).get("settings") or {}).get("features")


@dataclass
class RunResults:
    """All that the page tells of.

    Attributes:
        parameters: of params.yaml.
        models: in the order of params.yaml.
        table: of data/split.csv with the paths of data/index.csv, a row for each file; none where
            they are not there.
        index: of data/index.csv.
        images: data/images.
        runs: the lines of the run log.
    """

    parameters: dict
    models: list[Model]
    table: pd.DataFrame | None
    index: pd.DataFrame | None
    images: ArrayFolder | None
    classes: list[str]
    runs: list[dict]

    @property
    def evaluated(self) -> list[Model]:
        return [model for model in self.models if model.details]

    def backbone(self, name: str) -> str:
        """A backbone in words: its name, and what it is where that is something else."""
        application = (
            (self.parameters.get("backbones") or {}).get(name, {}).get("application", name)
        )
        return name if name.lower() == application.lower() else f"{name} ({application})"

    @property
    def shown(self) -> list[Model]:
        """Those whose answers for each test image are there."""
        return [model for model in self.models if model.probabilities is not None]


def find_results() -> RunResults:
    """Read the repository that is the current folder.

    Raises:
        UserError: nothing was evaluated yet.
    """
    if not Path("params.yaml").exists():
        raise UserError(
            "there is no params.yaml here: run `thaw report` in the repository, after `dvc repro`."
        )
    parameters = read_params()
    runs = _runs()
    models = [
        _model(name, kind, runs)
        for section, kind in KINDS.items()
        for name in parameters.get(section) or {}
    ]
    if not any(model.details for model in models):
        names = ", ".join(model.name for model in models) or "none"
        raise UserError(
            f"there is nothing to report yet: no model of params.yaml ({names}) has results. Run "
            f"`dvc repro`, or `dvc pull` for what somebody else ran."
        )
    classes = next(model.details["classes"] for model in models if model.details)
    table, index = read_table()
    images = ArrayFolder("data/images") if Path("data/images/keys.txt").exists() else None
    if table is not None:
        tests = table.loc[table["split"] == "test", "pixels"].tolist()
        for model in models:
            if model.keys is not None and model.keys != tests:
                model.keys = model.probabilities = model.maps = None
                model.problem = "its predictions are of another split: dvc repro makes them anew"
    return RunResults(parameters, models, table, index, images, classes, runs)


def _model(name: str, kind: str, runs: list[dict]) -> Model:
    model = Model(name, kind)
    folder = Path(f"models/{name}")
    model.record = _json(folder / "record.json")
    if folder.is_dir():
        model.size = sum(f.stat().st_size for f in folder.glob("model.*"))
    stage = f"{TRAINING[kind]} {name}"
    seconds = [run["seconds"] for run in runs if run["stage"] == stage and run.get("exit") == 0]
    model.seconds = seconds[-1] if seconds else None
    model.details = _json(Path(f"results/details/{name}.json"))
    if model.details is None:
        model.problem = "it was not evaluated yet: dvc repro does so"
        return model
    predictions = Path(f"results/predictions/{name}")
    if not (predictions / "predictions.csv").exists():
        model.problem = (
            "what it says of each test image is not here: dvc pull or dvc repro brings it"
        )
        return model
    model.keys, _, model.probabilities = read_predictions(predictions)
    model.maps = read_maps(predictions)
    return model


def read_table() -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """The split with the path and the digest of each file, and the index."""
    if not (Path("data/split.csv").exists() and Path("data/index.csv").exists()):
        return None, None
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    table = pd.read_csv("data/split.csv", dtype=str, keep_default_na=False)
    return join_paths(table, index), index


def _runs() -> list[dict]:
    """The run log's lines: stage, started, seconds, exit, peak_mb. Those that are none are left
    out, since a killed process may leave half a line."""
    path, found = Path("logs/runs.jsonl"), []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                run = json.loads(line)
                run["seconds"] = float(run["seconds"])
                found.append({**run, "stage": str(run["stage"]), "started": str(run["started"])})
            except (ValueError, KeyError, TypeError):
                continue
    return found


def _json(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
