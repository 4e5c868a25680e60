"""Run the published presets and generate the tables of results.

    python -m benchmarks.runs                           every result that is missing, in order
    python -m benchmarks.runs fashion_cnn --seeds 1     one preset, one training seed
    python -m benchmarks.runs fashion_cnn --only leaky_cnn
    python -m benchmarks.runs cats_dogs -S dataset.source.sha256=...
    python -m benchmarks.runs fashion_resnet --at 1a2b3c4  with the code of that commit
    python -m benchmarks.runs --table                   write docs/results.md and README.md

Each preset and seed has a small JSON file in benchmarks/results. Models run one after the other, in
a clone of the last commit that shares this repository's cache. So nothing is computed twice, a
killed training resumes from its last checkpoint, and the work tree is left alone. A model that is
in its file already is skipped.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.clone import ROOT, Clone

RESULTS = ROOT / "benchmarks/results"
MARKS = "<!-- results -->", "<!-- /results -->"
UNSEEDED = {"logistic"}  # their results do not depend on the training seed
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "dvc")  # versions that are recorded
TIMED = ("train_", "finetune@")  # stages whose seconds are recorded


@dataclass
class Row:
    """A row of the table.

    Attributes:
        run: The name of its files.
        model: The model's name in params.yaml.
        description: What the model is.
        published: The published test accuracy in per cent, or an empty text.
        validated: Whether everything is chosen on validation data; else the published recipe.
        hours: Training time for one seed on two cores, shown where no result exists.
        at_half: Whether the table gives precision and recall at threshold 0.5.
        in_readme: Whether README.md shows the row.
    """

    run: str
    model: str
    description: str
    published: str
    validated: bool
    hours: float
    at_half: bool = False
    in_readme: bool = False


# The overrides of each run, by the name of its files. The networks for CIFAR-10 keep the epoch with
# the lowest validation loss, an early one, and overfit afterwards. Stopping ten or five epochs
# after it saves hours, and changes the result only if a later epoch were better.
RUNS = {
    "solar_cells": [
        "models=vgg16",
        "+subnet@subnets.fc512x2=fc512x2",
        "+subnet@subnets.gap1024=gap1024",
    ],
    "cats_dogs": ["experiment=cats_dogs"],
    "cats_dogs_224": ["experiment=cats_dogs", "dataset.image.size=224"],
    "little_data": ["experiment=little_data"],
    "transfer": ["experiment=transfer"],
    "fashion_cnn": ["experiment=fashion_cnn"],
    "fashion_resnet": ["experiment=fashion_resnet"],
    "fashion_dense": ["experiment=fashion_dense"],
    "cifar_googlenet": [
        "experiment=cifar_googlenet",
        "networks.googlenet.patience=10",
        "networks.plain.patience=10",
    ],
    "cifar_inception": ["experiment=cifar_inception", "networks.inception.patience=5"],
}

TABLE = [
    Row(
        "solar_cells", "logistic", "logistic regression on features", "", True, 0.01, in_readme=True
    ),
    Row("solar_cells", "fc256", "Flatten, Dense 256", "", True, 0.01),
    Row("solar_cells", "gap256", "average pooling, Dense 256", "", True, 0.01),
    Row("solar_cells", "gap1024", "average pooling, Dense 1024", "", True, 0.01),
    Row("solar_cells", "fc512x2", "Flatten, two Dense 512", "", True, 0.02),
    Row(
        "solar_cells",
        "finetuned",
        "last block fine-tuned",
        "88.42 (VGG19, 300 px)",
        True,
        0.1,
        in_readme=True,
    ),
    Row(
        "fashion_dense",
        "dense",
        "2 x 78, ReLU, dropout 0.5",
        "86.71 (P 89.00, R 84.72)",
        False,
        3,
        at_half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense",
        "the same, on JAX",
        "86.71 (P 89.00, R 84.72)",
        False,
        3,
        at_half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense392x2",
        "2 x 392, dropout 0.5, on JAX",
        "86.66 (P 88.87, R 84.91)",
        False,
        6,
        at_half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense392_08_linear",
        "392, dropout 0.8, no activation, on JAX",
        "86.36 (P 88.77, R 84.55)",
        False,
        6,
        at_half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense392_08",
        "392, dropout 0.8, ReLU",
        "84.45 (P 87.55, R 81.52)",
        False,
        6,
        at_half=True,
    ),
    Row("fashion_dense-jax", "dense392_05", "392, dropout 0.5, ReLU", "86.20", False, 6),
    Row(
        "fashion_dense-jax",
        "dense392_05_linear",
        "392, dropout 0.5, no activation",
        "84.69",
        False,
        6,
    ),
    Row("fashion_dense-jax", "dense784_05", "784, dropout 0.5, ReLU", "", False, 12),
    Row("fashion_cnn", "leaky_cnn", "without dropout", "91.84", False, 0.1),
    Row("fashion_cnn", "leaky_cnn_dropout", "with dropout", "92.30", False, 0.1, in_readme=True),
    Row("fashion_cnn-jax", "leaky_cnn_dropout", "the same, on JAX", "92.30", False, 0.1),
    Row("fashion_cnn", "normal_cnn", "own design", "", True, 0.2),
    Row(
        "fashion_resnet",
        "resnet",
        "epoch chosen on validation data",
        "92.38 (on test data)",
        False,
        1,
        in_readme=True,
    ),
    Row(
        "fashion_resnet",
        "regularized_resnet",
        "flips, weight decay, cosine schedule",
        "",
        True,
        0.5,
        in_readme=True,
    ),
    Row("little_data", "small_cnn", "trained from scratch", "75", False, 0.15),
    Row("little_data", "fc256", "on features, pixels scaled by 1/255", "90", False, 0.03),
    Row("little_data", "finetuned", "last block fine-tuned", "93", False, 0.4, in_readme=True),
    Row("transfer", "wide_cnn", "trained from scratch, 3 epochs", "69 (2 of 3,000)", False, 0.02),
    Row(
        "transfer",
        "end_to_end",
        "all of VGG16 in every epoch, 3 epochs",
        "88 (2 of 3,000)",
        False,
        0.1,
    ),
    Row("transfer", "gap1024", "the same head on cached features", "", False, 0.01),
    Row(
        "transfer",
        "fc512x2",
        "on cached features, 150 epochs",
        "90 (100 of 3,000)",
        False,
        0.1,
        in_readme=True,
    ),
    Row("cats_dogs", "logistic", "150 px, logistic regression", "", True, 0.01),
    Row("cats_dogs", "fc256", "150 px, Flatten, Dense 256", "90", True, 0.02),
    Row("cats_dogs", "gap256", "150 px, average pooling, Dense 256", "", True, 0.02),
    Row("cats_dogs", "finetuned", "150 px, last block fine-tuned", "93", True, 0.1),
    Row("cats_dogs_224", "gap256", "224 px, average pooling, Dense 256", "", True, 0.05),
    Row(
        "cats_dogs_224", "finetuned", "224 px, last block fine-tuned", "", True, 0.4, in_readme=True
    ),
    Row("cifar_inception", "inception", "one module, patience 5", "", True, 0.4),
    Row("cifar_googlenet", "googlenet", "auxiliary classifiers, patience 10", "", True, 0.4),
    Row("cifar_googlenet", "plain", "no auxiliary classifiers, patience 10", "", True, 0.4),
    Row("cifar_googlenet-jax", "googlenet", "auxiliary classifiers, on JAX", "", True, 0.4),
    Row("cifar_googlenet-jax", "plain", "no auxiliary classifiers, on JAX", "", True, 0.4),
]


def run(name: str, seed: int, only: list[str], extra: list[str], at: str | None) -> None:
    """Run the missing models of a run and record each as soon as it is evaluated.

    Args:
        name: A key of RUNS.
        seed: The training seed.
        only: The models to run; empty: all.
        extra: Further overrides.
        at: The commit to run; None: the last.
    """
    result = RESULTS / f"{name}-seed{seed}.json"
    content = json.loads(result.read_text()) if result.exists() else {"models": {}}
    wanted = [row.model for row in TABLE if row.run == name and row.model in (only or [row.model])]
    wanted = [model for model in wanted if seed == 0 or model not in UNSEEDED]
    if not (wanted := [model for model in wanted if model not in content["models"]]):
        print(f"{result.name}: complete", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "thaw", shared=True, at=at)
        overrides = [f"seed={seed}", *RUNS[name], *extra]
        chosen = [part for override in overrides for part in ("-S", override)]
        clone.dvc("exp", "run", *chosen, "conf")
        for model in wanted:
            seconds = clone.dvc("repro", f"evaluate@{model}").seconds
            details = json.loads((clone.folder / f"results/details/{model}.json").read_text())
            content |= {"run": name, "seed": seed}
            content["models"][model] = {
                "test": {k: details["metrics"][k] for k in ("accuracy", "roc_auc", "log_loss")},
                "at_half": details["at_half"],
                "accuracy_95": details["intervals_95"]["accuracy"],
                "epoch": details["training"]["kept"],
                "epochs": details["training"]["epochs"],
                "parameters": details["training"]["parameters"],
                "counts": details["counts"],
                "seconds": {k: round(v) for k, v in seconds.items() if k.startswith(TIMED)},
                "commit": clone.commit,
                "overrides": [re.sub(r"=/.*/", "=", override) for override in overrides],
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "versions": {package: _version(package) for package in PACKAGES},
            }
            RESULTS.mkdir(exist_ok=True)
            result.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{result.name}: {model} written", flush=True)


def _version(package: str) -> str:
    """Return a package's installed version, or that of its CPU-only build."""
    for name in (package, f"{package}-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return ""


def cell(row: Row) -> str:
    """Return the mean test accuracy in per cent with its range over seeds, or the time it takes."""
    files = sorted(RESULTS.glob(f"{row.run}-seed*.json"))
    recorded = [json.loads(file.read_text())["models"].get(row.model) for file in files]
    models = [model for model in recorded if model]
    values = [model["test"]["accuracy"] * 100 for model in models]
    if not values:
        return f"not run, about {row.hours:g} h for a seed"
    notes = [f"{min(values):.2f}–{max(values):.2f}"] if len(values) > 1 else []
    if row.at_half:
        for letter, name in (("P", "precision"), ("R", "recall")):
            mean = statistics.mean(model["at_half"][name] for model in models)
            notes.append(f"{letter} {mean * 100:.2f}")
    count = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    if row.model in UNSEEDED:
        count = "deterministic"
    spread = f" ({', '.join(notes)})" if notes else ""
    return f"{statistics.mean(values):.2f}{spread}, {count}"


def preset(run: str) -> str:
    """Return the preset that a run composes; the default run has its own name."""
    run = run.removesuffix("-jax")  # results of benchmarks/on_jax.py
    return next((o.split("=")[1] for o in RUNS[run] if o.startswith("experiment=")), run)


def table(rows: list[Row]) -> str:
    """Return a Markdown table of test accuracies, one line for each row."""
    lines = [
        "| preset | model | published | published recipe, ours | chosen on validation data, ours |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = ["", cell(row)] if row.validated else [cell(row), ""]
        columns = [preset(row.run), f"`{row.model}`: {row.description}", row.published, *cells]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Return the generated table of each page."""
    return {"docs/results.md": table(TABLE), "README.md": table([r for r in TABLE if r.in_readme])}


def main() -> None:
    """Run the missing models, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0; default: 3")
    parser.add_argument("--only", action="append", default=[], metavar="MODEL")
    parser.add_argument("--at", metavar="COMMIT", help="run this commit, to resume a training")
    parser.add_argument("-S", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument(
        "--table", action="store_true", help="write the tables of docs/results.md and README.md"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - RUNS.keys():
        parser.error(f"no such run: {', '.join(unknown)}. There are {', '.join(RUNS)}.")
    if chosen.table:
        for page, rows in tables().items():
            before, rest = (ROOT / page).read_text(encoding="utf-8").split(MARKS[0])
            after = rest.split(MARKS[1])[1]
            text = f"{before}{MARKS[0]}\n{rows}\n{MARKS[1]}{after}"
            (ROOT / page).write_text(text, encoding="utf-8")
        return
    for seed in range(chosen.seeds):
        for name in chosen.names or RUNS:
            run(name, seed, chosen.only, chosen.overrides, chosen.at)


if __name__ == "__main__":
    main()
