"""Change the dropout here and in DVC's own tutorial: `python -m benchmarks.tutorial ARCHIVE`.

ARCHIVE is the archive of cats and dogs (cats_and_dogs_filtered.zip); nothing is downloaded. The
tutorial has features, head and metrics in one stage (benchmarks/one_script.py), so `dvc exp run -S
dropout=...` runs all of it. Here the preset cats_dogs runs two stages. Both train the same head on
the same images for ten epochs: once to fill the caches, and once with another dropout, timed from
the command to its metrics.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from benchmarks.clone import Clone

SCRIPT = Path(__file__).with_name("one_script.py")
LAST = 2400  # validation images have numbers from 2000 on; the tutorial uses 400 of each class


def main() -> None:
    """Measure and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    archive = parser.parse_args().archive.resolve()
    dropouts = [
        f"{0.3 + time.time() % 1e5 / 1e6 + n / 10:.10f}" for n in range(2)
    ]  # unseen by the run cache
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        clone = Clone(here / "thaw", shared=True)
        settings = {
            "experiment": "cats_dogs",
            "dataset.source.sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "subnets.fc256.epochs": "10",
            "subnets.fc256.patience": "null",
        }
        asked = [part for key, value in settings.items() for part in ("-S", f"{key}={value}")]
        asked = ["exp", "run", "evaluate@fc256", *asked]
        clone.dvc(*asked)
        other = _tutorial(here, archive, clone.folder / "data/weights/vgg16.npz")
        seconds = {}
        for dropout in dropouts:
            seconds["as the tutorial"] = other.dvc("exp", "run", "-S", f"dropout={dropout}").total
            seconds["here"] = clone.dvc(*asked, "-S", f"subnets.fc256.dropout={dropout}").total
        metrics = {
            "as the tutorial": other.read("metrics.json"),
            "here": clone.read("results/metrics/fc256.json"),
        }
        for name, value in seconds.items():
            print(f"{name}: {value:.1f} s, accuracy {metrics[name]['accuracy']:.3f}")
        print(f"ratio {seconds['as the tutorial'] / seconds['here']:.1f}")


def _tutorial(folder: Path, archive: Path, weights: Path) -> Clone:
    """Return a repository with the tutorial's one stage, on the archive's images."""
    empty = folder / "empty"
    subprocess.run(["git", "init", "--quiet", str(empty)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=empty, check=True)
    (empty / "params.yaml").write_text("dropout: 0.5\n")
    shutil.copy(SCRIPT, empty)
    clone = Clone(folder / "tutorial", shared=False, source=_committed(empty))
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if not name.endswith(".jpg"):
                continue
            split, label, file = name.split("/")[-3:]
            if split == "train" or int(file.split(".")[1]) < LAST:
                place = clone.folder / "data" / split / label / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(opened.read(name))
    clone.dvc("add", "--quiet", "data")
    outs = ["features_train.npy", "features_validation.npy", "model.weights.h5"]
    clone.dvc(
        *("stage", "add", "--quiet", "--name", "train", "--params", "dropout"),
        *("--deps", SCRIPT.name, "--deps", "data", "--metrics-no-cache", "metrics.json"),
        *(part for out in outs for part in ("--outs", out)),
        f"{sys.executable} {SCRIPT.name} {weights}",
    )
    _committed(clone.folder)
    return clone


def _committed(repository: Path) -> Path:
    for command in (["add", "."], ["commit", "--quiet", "--message", "as it stands"]):
        subprocess.run(
            ["git", "-c", "user.name=thaw", "-c", "user.email=thaw@localhost", *command],
            cwd=repository,
            check=True,
        )
    return repository


if __name__ == "__main__":
    main()
