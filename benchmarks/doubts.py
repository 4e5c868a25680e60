"""How many wrong labels the stage `doubts` finds: `python -m benchmarks.doubts ARCHIVE`.

ARCHIVE is cats and dogs' archive (cats_and_dogs_filtered.zip). Of its training images 5 % are put
into the other class's folder, drawn by a seed; the pipeline runs on that folder as on a user's, in
a clone that shares this repository's cache; and of the first 100 images of results/doubts/vgg16,
in all splits, those that were moved are counted. One result a seed.
"""

import argparse
import json
import random
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from benchmarks.clone import ROOT, Clone

SHARE, FIRST = 0.05, 100
RESULTS = ROOT / "benchmarks/results/doubts.json"


def main() -> None:
    """Measure, print, and keep in benchmarks/results/doubts.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        clone = Clone(here / "thaw", shared=True)
        for seed in range(chosen.seeds):
            images = here / "images"
            moved = _laid(chosen.archive, images, seed)
            given = ["dataset=folder", f"dataset.source.path={images}"]
            asked = ["exp", "run", "audit@vgg16", *(part for o in given for part in ("-S", o))]
            run = clone.dvc(*asked, quiet=True)
            rows = pd.read_csv(clone.folder / "results/doubts/vgg16/images.csv")
            wrong = rows["path"].isin(moved)
            suspects = rows["suspect"] & rows["split"].ne("test")
            line = {
                "seed": seed,
                "moved": len(moved),
                "among_first_100": int(wrong[:FIRST].sum()),
                "suspects_but_test": int(suspects.sum()),
                "moved_among_them": int((suspects & wrong).sum()),
                "seconds": round(run.seconds["audit@vgg16"], 1),
                "accuracy_by_images": pd.read_csv(
                    clone.folder / "results/labels/vgg16.csv"
                ).to_dict("records"),
            }
            assert wrong.sum() == len(moved), "every moved image has a row"
            print({k: v for k, v in line.items() if k != "accuracy_by_images"}, flush=True)
            found.append(line)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _laid(archive: Path, folder: Path, seed: int) -> set[str]:
    """Lay the archive's images in `folder` with 5 % of the training ones in the other class's
    folder; give the paths of those, as the results name them."""
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))
        train = [name for name in names if "/train/" in name]
        drawn = set(random.Random(seed).sample(train, round(SHARE * len(train))))
        moved = set()
        for path in folder.rglob("*.jpg"):
            path.unlink()
        for name in names:
            split, label, file = name.split("/")[-3:]
            if name in drawn:
                label = {"cats": "dogs", "dogs": "cats"}[label]
                moved.add(f"{split}/{label}/{file}")
            place = folder / split / label / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(opened.read(name))
    return moved


if __name__ == "__main__":
    main()
