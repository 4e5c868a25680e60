"""The results table: long runs of the presets, one small file a preset and seed.

    python -m benchmarks.runs                           what is missing of everything, in order
    python -m benchmarks.runs fashion_cnn --seeds 1     one preset, one training seed
    python -m benchmarks.runs fashion_cnn --only leaky_cnn
    python -m benchmarks.runs cats_dogs -S dataset.source.sha256=...
    python -m benchmarks.runs fashion_resnet --at 1a2b3c4  of that code
    python -m benchmarks.runs --table                   write them into README.md and the presets

Models are run one after the other in a clone of the last commit that shares this repository's
cache, so that nothing is computed twice, a killed training goes on from its last epoch and the work
tree is left alone. A model that is in its file is skipped.
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
OURS = "# Ours: "
STAGES = {"subnets": "subnet", "networks": "network", "finetunes": "finetuned"}
UNSEEDED = {"logistic"}
"""Whatever the training's seed, the same comes out."""
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "dvc")
TIMED = ("train_", "finetune@")


@dataclass
class Row:
    """A line of the table.

    Attributes:
        run: the name of its files.
        model: its name in params.yaml.
        what: it is, in words.
        published: accuracy in per cent, or nothing.
        right: all is chosen on validation data; else the published recipe.
        hours: of training on two cores, for one seed, where it has not been run.
        half: whether precision and recall at 0.5 were published, and are given too.
    """

    run: str
    model: str
    what: str
    published: str
    right: bool
    hours: float
    half: bool = False


RUNS = {
    "solar_cells": ["+subnet@subnets.fc512x2=fc512x2", "+subnet@subnets.gap1024=gap1024"],
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
"""What each run composes; its name is that of its files. The networks for CIFAR-10 keep the epoch
of the lowest validation loss, an early one, and overfit from then on: their 50 epochs are cut ten
or five epochs later, which saves hours, and changes what is kept only where a later one were
better."""

TABLE = [
    Row("solar_cells", "logistic", "logistic regression on features", "", True, 0.01),
    Row("solar_cells", "fc256", "Flatten, Dense 256", "", True, 0.01),
    Row("solar_cells", "gap256", "average, Dense 256", "", True, 0.01),
    Row("solar_cells", "gap1024", "average, Dense 1024", "", True, 0.01),
    Row("solar_cells", "fc512x2", "Flatten, twice Dense 512", "", True, 0.02),
    Row("solar_cells", "finetuned", "last block fine-tuned", "88.42 (VGG19, 300 px)", True, 0.1),
    Row(
        "fashion_dense",
        "dense",
        "2 x 78, ReLU, dropout 0.5",
        "86.71 (P 89.00, R 84.72)",
        False,
        3,
        half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense",
        "the same, by JAX",
        "86.71 (P 89.00, R 84.72)",
        False,
        3,
        half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense392x2",
        "2 x 392, dropout 0.5, by JAX",
        "86.66 (P 88.87, R 84.91)",
        False,
        6,
        half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense392_08_linear",
        "392, dropout 0.8, no activation, by JAX",
        "86.36 (P 88.77, R 84.55)",
        False,
        6,
        half=True,
    ),
    Row(
        "fashion_dense-jax",
        "dense392_08",
        "392, dropout 0.8, ReLU",
        "84.45 (P 87.55, R 81.52)",
        False,
        6,
        half=True,
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
    Row("fashion_cnn", "leaky_cnn_dropout", "with dropout", "92.30", False, 0.1),
    Row("fashion_cnn-jax", "leaky_cnn_dropout", "the same, by JAX", "92.30", False, 0.1),
    Row("fashion_cnn", "normal_cnn", "of our own design", "", True, 0.2),
    Row("fashion_resnet", "resnet", "chosen on validation data", "92.38 (on test data)", False, 1),
    Row("fashion_resnet", "regularized_resnet", "flips, weight decay, cosine", "", True, 0.5),
    Row("little_data", "small_cnn", "from nothing", "75", False, 0.15),
    Row("little_data", "fc256", "on features of pixels by 1/255", "90", False, 0.03),
    Row("little_data", "finetuned", "fine-tuned", "93", False, 0.4),
    Row("transfer", "wide_cnn", "from nothing, 3 epochs", "69 (2 of 3,000)", False, 0.02),
    Row("transfer", "end_to_end", "VGG16 whole, 3 epochs", "88 (2 of 3,000)", False, 0.1),
    Row("transfer", "gap1024", "the same top on features", "", False, 0.01),
    Row("transfer", "fc512x2", "on features, 150 epochs", "90 (100 of 3,000)", False, 0.1),
    Row("cats_dogs", "logistic", "150 px, logistic regression", "", True, 0.01),
    Row("cats_dogs", "fc256", "150 px, Flatten, Dense 256", "90", True, 0.02),
    Row("cats_dogs", "gap256", "150 px, average, Dense 256", "", True, 0.02),
    Row("cats_dogs", "finetuned", "150 px, fine-tuned", "93", True, 0.1),
    Row("cats_dogs_224", "gap256", "224 px, average, Dense 256", "", True, 0.05),
    Row("cats_dogs_224", "finetuned", "224 px, fine-tuned", "", True, 0.4),
    Row("cifar_inception", "inception", "one module, patience 5", "", True, 0.4),
    Row("cifar_googlenet", "googlenet", "auxiliary classifiers, patience 10", "", True, 0.4),
    Row("cifar_googlenet", "plain", "without, patience 10", "", True, 0.4),
    Row("cifar_googlenet-jax", "googlenet", "the same with, by JAX", "", True, 0.4),
    Row("cifar_googlenet-jax", "plain", "the same without, by JAX", "", True, 0.4),
]


def run(name: str, seed: int, only: list[str], given: list[str], at: str | None) -> None:
    """Run what is missing of NAME with a training seed, each model into the result file as soon as
    it is evaluated.

    Args:
        only: the models asked for; none: all.
        given: further overrides.
        at: the commit that is run; none: the last.
    """
    result = RESULTS / f"{name}-seed{seed}.json"
    content = json.loads(result.read_text()) if result.exists() else {"models": {}}
    wanted = [row.model for row in TABLE if row.run == name and row.model in (only or [row.model])]
    wanted = [model for model in wanted if seed == 0 or model not in UNSEEDED]
    if not (wanted := [model for model in wanted if model not in content["models"]]):
        print(f"{result.name}: there already", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "thaw", shared=True, at=at)
        overrides = [f"seed={seed}", *RUNS[name], *given]
        chosen = [part for override in overrides for part in ("-S", override)]
        clone.dvc("exp", "run", *chosen, "conf")
        params = clone.read("params.yaml")
        for model in wanted:
            group = next(group for group in STAGES if model in params[group])
            seconds = clone.dvc("repro", f"evaluate_{STAGES[group]}@{model}").seconds
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
    """Of an installed package, or the one for processors alone."""
    for name in (package, f"{package}-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return ""


def cell(row: Row) -> str:
    """Test accuracy in per cent: the mean over the seeds with its range, or what it would take."""
    files = sorted(RESULTS.glob(f"{row.run}-seed*.json"))
    found = [json.loads(file.read_text())["models"].get(row.model) for file in files]
    found = [model for model in found if model]
    values = [model["test"]["accuracy"] * 100 for model in found]
    if not values:
        return f"not run, about {row.hours:g} h a seed"
    said = [f"{min(values):.2f}–{max(values):.2f}"] if len(values) > 1 else []
    if row.half:
        for letter, name in (("P", "precision"), ("R", "recall")):
            mean = statistics.mean(model["at_half"][name] for model in found)
            said.append(f"{letter} {mean * 100:.2f}")
    count = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    if row.model in UNSEEDED:
        count = "without a seed"
    spread = f" ({', '.join(said)})" if said else ""
    return f"{statistics.mean(values):.2f}{spread}, {count}"


def preset(run: str) -> str:
    """The one that it composes, or its own name for the default."""
    run = run.removesuffix("-jax")  # what benchmarks/on_jax.py keeps
    return next((o.split("=")[1] for o in RUNS[run] if o.startswith("experiment=")), run)


def table() -> str:
    """The README's table, a row of TABLE each."""
    lines = [
        "| preset | model | published | same recipe, ours | done right, ours |",
        "|---|---|---|---|---|",
    ]
    for row in TABLE:
        cells = ["", cell(row)] if row.right else [cell(row), ""]
        columns = [preset(row.run), f"`{row.model}`: {row.what}", row.published, *cells]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def write_headers() -> None:
    """Write our figures into the opening comment of each preset, below its commands."""
    for path in sorted((ROOT / "conf/experiment").glob("*.yaml")):
        rows = [row for row in TABLE if preset(row.run) == path.stem]
        lines = path.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if not line.startswith(OURS)]
        place = max(n for n, line in enumerate(lines) if line.startswith("#   dvc ")) + 1
        lines[place:place] = [f"{OURS}{row.model} ({row.what}): {cell(row)}" for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Run what was asked for, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--only", action="append", default=[], metavar="MODEL")
    parser.add_argument("--at", metavar="COMMIT", help="run its code, to go on with a training")
    parser.add_argument("-S", action="append", default=[], dest="given", metavar="KEY=VALUE")
    parser.add_argument(
        "--table", action="store_true", help="write the figures into README.md and the presets"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - RUNS.keys():
        parser.error(f"no such run: {', '.join(unknown)}. There are {', '.join(RUNS)}.")
    if chosen.table:
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        readme.write_text(f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}", encoding="utf-8")
        write_headers()
        return
    for seed in range(chosen.seeds):
        for name in chosen.names or RUNS:
            run(name, seed, chosen.only, chosen.given, chosen.at)


if __name__ == "__main__":
    main()
