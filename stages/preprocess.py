"""Stage preprocess: every image decoded once, to one size, and an index of them all."""

import csv
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from stages.command import Refusal, naming, note_kept, whole
from stages.images.arrays import write_arrays
from stages.images.decode import DECODING, BadImage, decode, identity
from stages.images.recorded import adopt, recorded_file
from stages.inputs import checked
from stages.params.base import load, one
from stages.params.dataset import Dataset, Image
from stages.progress import Progress
from stages.sources.packed import Raw, given
from stages.store import Store

RAW = Path("data/raw")
LEAST_AT_ONCE = 256
BYTES_AT_ONCE = 2**24
"""Of pixels: many tiny images make one shard of the store, and it stays quick to read."""
DARK = 64
"""Of 255: brighter than any pixel of files that use 14 of their 16 bits."""
COLUMNS = ["path", "sha256", "pixels", "label", "group", "confidence", "probability", "split"]


def main() -> None:
    """Write data/images, the distinct pictures under the identity of their pixels, and
    data/index.csv, a row for each file with why it was left out if it was."""
    image = load(Image, "dataset", "image")
    skip = one(Dataset, "dataset", "on_bad_image") == "skip"
    checked(RAW)
    with open(RAW / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    recipe = {
        **image.model_dump(exclude_defaults=True),
        "pillow": PIL.__version__,
        "decoding": DECODING,
    }
    store = Store("images", recipe)
    if (before := recorded_file("data/index.csv")) is not None:
        listed = csv.DictReader(io.StringIO(before.decode(), newline=""))
        pixels_of = {row["sha256"]: row["pixels"] for row in listed}
        adopt(store, pixels_of, "data/images", lambda key: pixels_of[key] or None)

    channels = 3 if image.colour == "rgb" else 1
    at_once = max(LEAST_AT_ONCE, BYTES_AT_ONCE // (image.size**2 * channels))
    new = 0
    with (
        Raw(RAW) as raw,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress("preprocess", len(rows)) as progress,
    ):
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            decoded = list(pool.map(lambda row: _decode(row, raw, image, store), some))
            fresh = {r["sha256"]: p for r, p in zip(some, decoded, strict=True) if p is not None}
            if fresh:
                store.add(list(fresh), np.stack(list(fresh.values())))
            new += len(fresh)
            note_kept(f"{start + len(some):,} of {len(rows):,} images")
            progress.advance(len(some))
    print(f"{new:,} of {len(rows):,} images are new")

    bad = [row for row in rows if row["problem"]]
    if bad and not skip:
        raise Refusal(
            f"{len(bad)} of {len(rows)} images cannot be read. Mend or remove them, or leave them "
            f"out with -S dataset.on_bad_image=skip:\n"
            + naming([f"{given(row['path'])}: {row['problem']}" for row in bad])
        )
    file_of = {row["pixels"]: row["sha256"] for row in rows if not row["problem"]}
    if not file_of:
        raise Refusal(f"none of {len(rows)} images can be read.")
    brightest = 0

    def row(key: str) -> np.ndarray:
        nonlocal brightest
        pixels = store[file_of[key]]
        brightest = max(brightest, int(pixels.max()))
        return pixels

    write_arrays("data/images", list(file_of), row, recipe)
    if brightest < DARK:
        print(
            f"The brightest pixel of all images is {brightest} of 255. If the files hold 12 bits "
            f"in 16, say so: -S dataset.image.bits=12 (or 10, or 14)."
        )
    with whole("data/index.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*COLUMNS, "problem"], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _decode(row: dict, raw: Raw, image: Image, store: Store) -> np.ndarray | None:
    """Fill in the row's digests or its problem; the pixels if they are new to the store."""
    content = raw.read(row["path"])
    row.update(sha256=hashlib.sha256(content).hexdigest(), pixels="", problem="")
    if row["sha256"] in store:
        row["pixels"] = identity(store[row["sha256"]])
        return None
    try:
        pixels = decode(content, image)
    except BadImage as reason:
        row["problem"] = str(reason)
        return None
    row["pixels"] = identity(pixels)
    return pixels
