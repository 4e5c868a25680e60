"""What every evaluate stage does once it has the test data's probabilities."""

import json
from pathlib import Path

from stages.command import Refusal, whole
from stages.images.arrays import Arrays
from stages.params.base import load, one
from stages.params.dataset import Dataset
from stages.params.evaluate import Evaluate
from stages.results.curves import write_curves
from stages.results.gallery import gallery
from stages.results.measures import at_half, confusion, intervals, measure, per_class
from stages.results.predictions import telling, write_maps, write_predictions
from stages.results.report import write_report
from stages.training.rows import Rows


def evaluate(name: str, predict, explain, explained: int) -> None:
    """Write results/metrics/NAME.json, results/details/NAME.json, results/predictions/NAME/,
    results/reports/NAME/ and results/plots/NAME/.

    Args:
        predict: gives the class probabilities (n, classes) for the pixels' identities of n rows.
        explain: gives for n identities and n class numbers where in the image a class was seen,
            (n, height, width), see stages/networks/gradcam.py; or none where nothing can be said.
        explained: of how many images that is kept.

    Raises:
        Refusal: the split holds no test data.
    """
    parameters = load(Evaluate, "evaluate")
    dataset = one(Dataset, "dataset", "name")
    rows, images = Rows(), Arrays("data/images")
    test = rows.of("test")
    if test.empty:
        raise Refusal("data/split.csv holds no test data: set dataset.split.test above 0.")
    true = test["class"].to_numpy()
    probabilities = predict(test["pixels"].to_list())
    record = json.loads(Path(f"models/{name}/record.json").read_text())
    bins = parameters.ece_bins

    metrics = measure(true, probabilities, bins)
    short = {key: round(value, 5) for key, value in metrics.items() if value is not None}
    short |= {"epoch": record["kept"], "skipped": rows.skipped}
    details = {
        "model": name,
        "dataset": dataset,
        "classes": rows.classes,
        "positive": rows.classes[1] if len(rows.classes) == 2 else None,
        "counts": {split: len(rows.of(split)) for split in ("train", "validation", "test")},
        "skipped": rows.skipped,
        "metrics": metrics,
        "intervals_95": intervals(true, probabilities, parameters.bootstrap),
        "per_class": per_class(true, probabilities, rows.classes),
        "per_group": {
            group: {"count": len(part), **measure(true[part], probabilities[part], bins)}
            for group, part in test.groupby("group").indices.items()
        },
        "at_half": at_half(true, probabilities),
        "confusion": confusion(true, probabilities),
        "training": {
            key: record[key] for key in ("kept", "epochs", "parameters", "trained", "start")
        },
        "settings": record["settings"],
    }
    _write_json(Path(f"results/metrics/{name}.json"), short)
    _write_json(Path(f"results/details/{name}.json"), details)
    with whole(f"results/predictions/{name}") as folder:
        folder.mkdir()
        write_predictions(folder, test, probabilities, rows.classes)
        some = telling(true, probabilities, explained)
        keys = test["pixels"].iloc[some].to_list()
        write_maps(folder, some, explain(keys, probabilities[some].argmax(axis=1)))
    with whole(f"results/reports/{name}") as folder:
        folder.mkdir()
        write_report(folder, true, probabilities, rows.classes)
    with whole(f"results/plots/{name}") as folder:
        folder.mkdir()
        write_curves(folder, true, probabilities, rows.classes, record, bins)
        keys = test["pixels"].to_list()
        gallery(
            true,
            probabilities,
            rows.classes,
            parameters.gallery,
            lambda number: images[keys[number]],
            folder / "images.png",
            f"{name} on {dataset}: test accuracy {metrics['accuracy']:.1%}",
        )
    print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in short.items()))


def _write_json(path: Path, content: dict) -> None:
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
