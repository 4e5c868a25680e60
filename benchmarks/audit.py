"""Measure how many wrong labels the stage `audit` finds: `python -m benchmarks.audit ARCHIVE`.

ARCHIVE is the archive of cats and dogs (cats_and_dogs_filtered.zip). 5 % of its training images,
drawn at random, are put into the folder of the other class. The pipeline runs on the result as on a
user's folder, in a clone that shares this repository's cache. Counts the flipped labels among the
first 100 images of results/audits/vgg16, in all splits. One result for each seed.
"""

import argparse
import json
import random
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from benchmarks.clone import ROOT, Clone

SHARE, FIRST = 0.05, 100  # share of labels flipped; images of the audit that are counted
RESULTS = ROOT / "benchmarks/results/audit.json"


def main() -> None:
    """Measure, print, and write benchmarks/results/audit.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        clone = Clone(here / "thaw", shared=True)
        for seed in range(chosen.seeds):
            images = here / "images"
            flipped = _write_images(chosen.archive, images, seed)
            overrides = ["dataset=folder", f"dataset.source.path={images}"]
            command = ["exp", "run", "audit@vgg16"]
            command += [part for override in overrides for part in ("-S", override)]
            run = clone.dvc(*command, quiet=True)
            rows = pd.read_csv(clone.folder / "results/audits/vgg16/images.csv")
            wrong = rows["path"].isin(flipped)
            flagged = rows["likely_error"] & rows["split"].ne("test")
            line = {
                "seed": seed,
                "flipped": len(flipped),
                "flipped_among_first_100": int(wrong[:FIRST].sum()),
                "flagged_but_test": int(flagged.sum()),
                "flipped_among_flagged": int((flagged & wrong).sum()),
                "seconds": round(run.seconds["audit@vgg16"], 1),
                "accuracy_by_images": pd.read_csv(
                    clone.folder / "results/learning_curves/vgg16.csv"
                ).to_dict("records"),
            }
            assert wrong.sum() == len(flipped), "every flipped image has a row"
            print({k: v for k, v in line.items() if k != "accuracy_by_images"}, flush=True)
            results.append(line)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _write_images(archive: Path, folder: Path, seed: int) -> set[str]:
    """Write the archive's images into `folder`, 5 % of the training images with a flipped label.

    Returns:
        The paths of the flipped images, as in the results.
    """
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))
        train = [name for name in names if "/train/" in name]
        drawn = set(random.Random(seed).sample(train, round(SHARE * len(train))))
        flipped = set()
        for path in folder.rglob("*.jpg"):
            path.unlink()
        for name in names:
            split, label, file = name.split("/")[-3:]
            if name in drawn:
                label = {"cats": "dogs", "dogs": "cats"}[label]
                flipped.add(f"{split}/{label}/{file}")
            place = folder / split / label / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(opened.read(name))
    return flipped


if __name__ == "__main__":
    main()
