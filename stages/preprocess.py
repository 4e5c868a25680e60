"""Stage preprocess: decode all images to one size, and list them."""

import csv
from pathlib import Path

import numpy as np

from thaw.config.base import load_section, read_value
from thaw.config.dataset import Dataset, Image
from thaw.data.consistency import reject_lost_classes
from thaw.data.preprocessing import (
    check_readable,
    decode_into,
    decode_truncated,
    image_stores,
    list_problems,
)
from thaw.storage.arrays import write_array_folder
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.shared_images import SharedImages
from thaw.storage.store import shared_root
from thaw.storage.tables import INDEX_COLUMNS

RAW = Path("data/raw")
DARK = 64  # pixel value above those of any 16-bit file that uses at most 14 bits


def main() -> None:
    """Write the distinct images to data/images, and one row for each file to data/index.csv.

    Images are identified by the SHA-256 of their pixels. The column `problem` of the index gives
    the reason if a file was skipped. Further columns of data/raw/index.csv follow it. With
    dataset.on_bad_image = truncate the index also has a column `truncated`, with the reason if the
    end of a file is missing.
    """
    image = load_section(Image, "dataset", "image")
    on_bad_image = read_value(Dataset, "dataset", "on_bad_image")
    verify_outputs(RAW)
    with open(RAW / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    large, store = image_stores(image)
    new, count_large = decode_into(large, store, rows, RAW, image)
    stores, recipe = [large, store], (large if count_large else store).recipe
    print(f"{new:,} of {len(rows):,} images are new")

    columns = list(dict.fromkeys([*INDEX_COLUMNS, *rows[0]]))
    if on_bad_image == "truncate":
        columns.append("truncated")
        stores.append(decode_truncated(rows, RAW, image))
        if truncated := [row for row in rows if row.get("truncated")]:
            print(
                f"{len(truncated):,} of {len(rows):,} images are truncated and used without their "
                f"end:\n{list_problems(truncated, 'truncated')}"
            )
    reject_lost_classes(rows)
    check_readable(rows, on_bad_image)
    file_of = {row["pixel_sha256"]: row["sha256"] for row in rows if not row["problem"]}
    brightest = 0

    def pixels_of(key: str) -> np.ndarray:
        nonlocal brightest
        pixels = next(each for each in stores if file_of[key] in each)[file_of[key]]
        brightest = max(brightest, int(pixels.max()))
        return pixels

    write_array_folder("data/images", list(file_of), pixels_of, recipe)
    if shared_root():
        SharedImages(image.shape, pixels_of).share(file_of)
    if brightest < DARK and image.value_range is None:
        print(
            f"The brightest pixel of all images is {brightest} of 255. If the files use only 12 of "
            f"16 bits, set -S dataset.image.bit_depth=12 (or 10, or 14)."
        )
    with atomic_write("data/index.csv") as part, open(part, "w", newline="", encoding="utf-8") as f:
        table = csv.DictWriter(f, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
