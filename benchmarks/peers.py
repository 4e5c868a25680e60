"""Train on photographs of cats and dogs with Thaw, fastai and stock Keras.

    python -m benchmarks.peers ARCHIVE --fastai PYTHON [--seed N]

ARCHIVE is cats_and_dogs_filtered.zip. PYTHON is an interpreter with fastai and timm (a separate
environment). Every system gets the same weights (EfficientNet-Lite0), the same 2,000 training
images at 224 px and the same 1,000 test images:

- thaw: a clone with empty caches, all defaults of dataset=folder; the times are those at which the
  metrics of each model on Lite0 were written, counted from the command, decoding included;
- fastai: `vision_learner(...).fine_tune(epochs, freeze_epochs=1)`, as its documentation recommends;
- keras: the guide "Transfer learning & fine-tuning" of keras.io: a head on the frozen network with
  random flips and rotations, then everything at a learning rate of 1e-5.

The systems run one after another, a peer once for each number of epochs. Results are in
benchmarks/results/peers/SYSTEM-seedN.json; what is there is not run again. The best accuracy
of a system is the best of its runs on the test images, so it is optimistic, for Thaw as for the
others. Memory is the peak of the largest process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.clone import ROOT, Clone
from thaw.models.backbones.weights import imagenet_weights

RESULTS = ROOT / "benchmarks/results/peers"
MODELS = ("lite0_logistic", "lite0_gap256", "lite0_finetuned")
BUDGET = 600  # seconds after which a peer starts no further run
TARGET = 0.985
EPOCHS = 1, 3, 6, 12, 24  # of a peer's runs


def main() -> None:
    """Run what has no result yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--fastai", metavar="PYTHON", help="interpreter that has fastai and timm")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        images, weights = _laid_out(chosen.archive.resolve(), here), here / "lite0.npz"
        np.savez(weights, **imagenet_weights("EfficientNetLite0", None))
        interpreters = {"keras": sys.executable, "fastai": chosen.fastai}
        print("system  minutes to 98.5 %  best within ten minutes  memory")
        for system in ("thaw", *interpreters):
            file = RESULTS / f"{system}-seed{chosen.seed}.json"
            if not file.exists() and system == "thaw":
                save(file, _thaw(here / "thaw", images, chosen.seed))
            elif system != "thaw" and interpreters[system]:
                script = ROOT / f"benchmarks/peers_{system}.py"
                # -P: benchmarks/ has a thaw.py too
                command = [interpreters[system], "-P", str(script), str(weights), str(images)]
                _peer(command, chosen.seed, file)
            print(_row(system, json.loads(file.read_text()) if file.exists() else None))


def save(file: Path, result: dict) -> None:
    """Write a result."""
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _row(system: str, result: dict | None) -> str:
    if result is None:
        return f"{system:<7} not run"
    points = result["points"]
    there = [p["seconds"] / 60 for p in points if p["accuracy"] >= TARGET]
    within = [p for p in points if p["seconds"] <= BUDGET]
    best = max(within, key=lambda p: p["accuracy"]) if within else None
    reached = f"{there[0]:.1f}" if there else "not reached"
    accuracy = f"{best['accuracy']:.1%} ({best['what']})" if best else "none"
    return f"{system:<7} {reached:<18} {accuracy:<24} {result['memory']:,} MB"


def _laid_out(archive: Path, folder: Path) -> Path:
    """Return a folder with train/CLASS and test/CLASS."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    (images,) = (p.parent for p in folder.rglob("train") if p.is_dir())
    (images / "validation").rename(images / "test")
    return images


def _thaw(folder: Path, images: Path, seed: int) -> dict:
    clone = Clone(folder, shared=False)
    settings = {"dataset": "folder", "dataset.source.path": str(images), "seed": str(seed)}
    asked = [part for key, value in settings.items() for part in ("-S", f"{key}={value}")]
    started = time.time()
    clone.dvc("exp", "run", *(f"evaluate@{name}" for name in MODELS), *asked)
    points = []
    for name in MODELS:
        file = folder / f"results/metrics/{name}.json"
        accuracy = json.loads(file.read_text())["accuracy"]
        points.append(
            {"what": name, "seconds": file.stat().st_mtime - started, "accuracy": accuracy}
        )
    return {"points": sorted(points, key=lambda p: p["seconds"]), "memory": _memory()}


def _peer(command: list[str], seed: int, file: Path) -> None:
    """Run a peer for more and more epochs while another run fits into BUDGET, and save each run."""
    result = json.loads(file.read_text()) if file.exists() else {"points": [], "memory": 0}
    points = result["points"]
    for epochs in EPOCHS[len(points) :]:
        if points and points[-1]["seconds"] > BUDGET / 1.5:
            return
        started = time.time()
        output = subprocess.run(
            [*command, str(epochs), str(seed)], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        seconds, accuracy = time.time() - started, float(output.split()[-1])
        points.append({"what": f"{epochs} epochs", "seconds": seconds, "accuracy": accuracy})
        result["memory"] = max(result["memory"], _memory())
        save(file, result)
        print(f"{file.stem}: {points[-1]}", flush=True)


def _memory() -> int:
    """Return the peak memory of the largest process so far that this one started, MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


if __name__ == "__main__":
    main()
