"""What a picture gains by being enlarged alone: `python -m benchmarks.enlarged ARCHIVE`.

ARCHIVE is cats and dogs' archive (cats_and_dogs_filtered.zip). Its pictures are brought to 150 px
and written as PNG files, and preset cats_dogs runs on these with dataset.image.size=224, in a clone
that shares this repository's cache: the network sees as many pixels as at 224 px, which hold no
more than at 150. To be held against the README's table, of the same test images.
"""

import argparse
import json
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from PIL import Image as Pillow

from benchmarks.clone import ROOT, Clone
from thaw.config.dataset import Image
from thaw.data.decoding import BadImage, decode

FROM, TO = 150, 224
RESULTS = ROOT / "benchmarks/results/enlarged.json"


def main() -> None:
    """Measure, print, and keep in benchmarks/results/enlarged.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _brought(chosen.archive, here / "images")
        clone = Clone(here / "thaw", shared=True)
        choices = [
            "experiment=cats_dogs",
            "dataset=folder",
            f"dataset.source.path={here / 'images'}",
            f"dataset.image.size={TO}",
            "~subnet@subnets.fc256",
        ]
        clone.dvc("exp", "run", *(part for choice in choices for part in ("-S", choice)))
        found = {"commit": clone.commit, "from": FROM, "to": TO, "seed": 0, "test_accuracy": {}}
        for name in ("logistic", "gap256", "finetuned"):
            metrics = clone.read(f"results/metrics/{name}.json")
            found["test_accuracy"][name] = metrics["accuracy"]
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(RESULTS.read_text())


def _brought(archive: Path, into: Path) -> None:
    """Lay the archive's train/ and validation/ in `into`, each picture at FROM pixels."""
    image = Image(size=FROM, resampling="bicubic", colour="rgb")
    with zipfile.ZipFile(archive) as opened:
        for name in filter(lambda name: name.endswith(".jpg"), opened.namelist()):
            split, label, file = PurePosixPath(name).parts[-3:]
            place = into / split / label / file.replace(".jpg", ".png")
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                Pillow.fromarray(decode(opened.read(name), image)).save(place)
            except BadImage as problem:
                print(f"{name}: {problem}, left out")


if __name__ == "__main__":
    main()
