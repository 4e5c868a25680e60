"""Stage preprocess: decode all images to one size, and list them."""

import csv
from pathlib import Path

import numpy as np

from thaw.config.base import load_section, read_value
from thaw.config.dataset import Dataset, Image
from thaw.data.consistency import reject_lost_classes
from thaw.data.preprocessing import decode_into, image_store
from thaw.data.raw import original_path
from thaw.errors import UserError, bullet_list
from thaw.storage.arrays import write_array_folder
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.tables import INDEX_COLUMNS

RAW = Path("data/raw")
DARK = 64  # pixel value above those of any 16-bit file that uses at most 14 bits


def main() -> None:
    """Write the distinct images to data/images, and one row for each file to data/index.csv.

    Images are identified by the SHA-256 of their pixels. The column `problem` of the index gives
    the reason if a file was skipped. Further columns of data/raw/index.csv follow it.
    """
    image = load_section(Image, "dataset", "image")
    skip = read_value(Dataset, "dataset", "on_bad_image") == "skip"
    verify_outputs(RAW)
    with open(RAW / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    store = image_store(image)
    new = decode_into(store, rows, RAW, image)
    print(f"{new:,} of {len(rows):,} images are new")

    reject_lost_classes(rows)
    bad = [row for row in rows if row["problem"]]
    if bad and not skip:
        raise UserError(
            f"{len(bad)} of {len(rows)} images cannot be read. Repair or remove them, or skip "
            f"them with -S dataset.on_bad_image=skip:\n"
            + bullet_list([f"{original_path(row['path'])}: {row['problem']}" for row in bad])
        )
    file_of = {row["pixel_sha256"]: row["sha256"] for row in rows if not row["problem"]}
    if not file_of:
        raise UserError(f"None of the {len(rows)} images can be read.")
    brightest = 0

    def pixels_of(key: str) -> np.ndarray:
        nonlocal brightest
        pixels = store[file_of[key]]
        brightest = max(brightest, int(pixels.max()))
        return pixels

    write_array_folder("data/images", list(file_of), pixels_of, store.recipe)
    if brightest < DARK:
        print(
            f"The brightest pixel of all images is {brightest} of 255. If the files use only 12 of "
            f"16 bits, set -S dataset.image.bit_depth=12 (or 10, or 14)."
        )
    with atomic_write("data/index.csv") as part, open(part, "w", newline="", encoding="utf-8") as f:
        columns = list(dict.fromkeys([*INDEX_COLUMNS, *rows[0]]))
        table = csv.DictWriter(f, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
