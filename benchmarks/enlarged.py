"""Measure the effect of enlarging images: `python -m benchmarks.enlarged ARCHIVE`.

ARCHIVE is the archive of cats and dogs (cats_and_dogs_filtered.zip). Its images are reduced to
150 px and written as PNG files. The preset cats_dogs runs on them with dataset.image.size=224, in a
clone that shares this repository's cache. So the network sees 224 px with the detail of 150 px.
Compare with the table in docs/results.md, which has the same test images.
"""

import argparse
import json
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from PIL import Image as Pillow

from benchmarks.clone import ROOT, Clone
from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.data.formats import BadImage

FROM, TO = 150, 224  # pixels
RESULTS = ROOT / "benchmarks/results/enlarged.json"


def main() -> None:
    """Measure, print, and write benchmarks/results/enlarged.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _write_reduced(chosen.archive, here / "images")
        clone = Clone(here / "thaw", shared=True)
        choices = [
            "experiment=cats_dogs",
            "dataset=folder",
            f"dataset.source.path={here / 'images'}",
            f"dataset.image.size={TO}",
            "~subnet@subnets.fc256",
        ]
        clone.dvc("exp", "run", *(part for choice in choices for part in ("-S", choice)))
        result = {"commit": clone.commit, "from": FROM, "to": TO, "seed": 0, "test_accuracy": {}}
        for name in ("logistic", "gap256", "finetuned"):
            metrics = clone.read(f"results/metrics/{name}.json")
            result["test_accuracy"][name] = metrics["accuracy"]
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULTS.read_text())


def _write_reduced(archive: Path, into: Path) -> None:
    """Write the archive's train/ and validation/ into `into`, each image at FROM pixels."""
    image = Image(size=FROM, resampling="bicubic", colour="rgb")
    with zipfile.ZipFile(archive) as opened:
        for name in filter(lambda name: name.endswith(".jpg"), opened.namelist()):
            split, label, file = PurePosixPath(name).parts[-3:]
            place = into / split / label / file.replace(".jpg", ".png")
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                Pillow.fromarray(decode(opened.read(name), image)).save(place)
            except BadImage as problem:
                print(f"{name}: {problem}; skipped")


if __name__ == "__main__":
    main()
