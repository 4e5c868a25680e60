"""Long runs of the pipeline, one result file each, and the table that is made of them.

    python -m benchmarks.runs                      what is missing of everything
    python -m benchmarks.runs solar_cells          of one run
    python -m benchmarks.runs cats_dogs --path PATH/cats_and_dogs_filtered.zip
    python -m benchmarks.runs --table              write the README's table from the files

Each run is `dvc exp run` in a clone of the last commit that shares this repository's cache, so
that nothing is computed twice and the work tree is left alone. A run that has its file is skipped.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
ALL_SUBNETS = ["+subnet@subnets.fc512x2=fc512x2", "+subnet@subnets.gap1024=gap1024"]
RUNS = {
    "solar_cells": ALL_SUBNETS,
    "cats_dogs": ["dataset=folder", "dataset.source.path={path}"],
}
TITLES = {
    "solar_cells": "solar cells, 224 px",
    "cats_dogs": "cats and dogs, 150 px",
}
MARKS = "<!-- results -->", "<!-- /results -->"


def run(name: str, seed: int, path: str | None) -> None:
    """Run NAME with a training seed and write its result file."""
    result = RESULTS / f"{name}-seed{seed}.json"
    if result.exists():
        print(f"{result.name}: there already")
        return
    overrides = [f"seed={seed}", *RUNS[name]]
    if any("{path}" in override for override in overrides):
        if path is None:
            print(f"{result.name}: not run, it needs --path")
            return
        overrides = [override.format(path=Path(path).resolve()) for override in overrides]
    cache = (ROOT / ".dvc/cache").resolve()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "thaw"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        dvc = [sys.executable, "-m", "dvc"]
        subprocess.run([*dvc, "cache", "dir", "--local", str(cache)], cwd=clone, check=True)
        for key in ("user.name", "user.email"):
            subprocess.run(["git", "config", key, "thaw@localhost"], cwd=clone, check=True)
        started = time.monotonic()
        chosen = [part for override in overrides for part in ("-S", override)]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        subprocess.run([*dvc, "exp", "run", *chosen], cwd=clone, check=True, env=environment)
        seconds = time.monotonic() - started
        files = sorted((clone / "results/details").glob("*.json"))
        details = [json.loads(file.read_text()) for file in files]
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=clone, capture_output=True, text=True
        ).stdout.strip()
    content = {
        "run": name,
        "seed": seed,
        "overrides": [re.sub(r"=/.*/", "=", override) for override in overrides],
        "commit": commit,
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {p: version(p) for p in ("keras", "numpy", "scikit-learn", "dvc")},
        "models": {
            d["model"]: {
                "test": {key: d["metrics"][key] for key in ("accuracy", "roc_auc", "log_loss")},
                "epoch": d["training"]["kept"],
                "parameters": d["training"]["parameters"],
                "counts": d["counts"],
            }
            for d in details
        },
    }
    RESULTS.mkdir(exist_ok=True)
    result.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{result.name}: written")


def table() -> str:
    """A row a model: mean test accuracy and AUC over the seeds, and their range."""
    lines = ["| data | model | test accuracy | ROC AUC | seeds |", "|---|---|---|---|---|"]
    for name, title in TITLES.items():
        found = [json.loads(p.read_text()) for p in sorted(RESULTS.glob(f"{name}-seed*.json"))]
        if not found:
            lines.append(f"| {title} | | not run | | |")
        models = list(dict.fromkeys(model for content in found for model in content["models"]))
        for model in models:
            rows = [c["models"][model]["test"] for c in found if model in c["models"]]
            cells = []
            for key, scale, digits in (("accuracy", 100, 1), ("roc_auc", 1, 3)):
                values = [row[key] * scale for row in rows]
                spread = f"{min(values):.{digits}f}–{max(values):.{digits}f}"
                cells.append(f"{statistics.mean(values):.{digits}f} ({spread})")
            lines.append(f"| {title} | `{model}` | {' | '.join(cells)} | {len(rows)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--path", help="the user's images, for runs that need some")
    parser.add_argument("--table", action="store_true", help="write the README's table")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - RUNS.keys():
        parser.error(f"no such run: {', '.join(unknown)}. There are {', '.join(RUNS)}.")
    if chosen.table:
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        readme.write_text(f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}", encoding="utf-8")
        return
    for name in chosen.names or RUNS:
        for seed in range(chosen.seeds):
            run(name, seed, chosen.path)


if __name__ == "__main__":
    main()
