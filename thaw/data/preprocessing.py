"""Decode every image once, into the store."""

import csv
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from thaw.config.dataset import FULL_DEPTH, Image
from thaw.data.decoding import DECODING, BadImage, decode, pixel_sha256
from thaw.data.raw import RawFiles
from thaw.errors import note_progress
from thaw.runtime.progress import Progress
from thaw.storage.recovery import read_recorded, recover_rows
from thaw.storage.store import Store

LEAST_AT_ONCE = 256
BYTES_AT_ONCE = 2**24
"""Of pixels: many tiny images make one shard of the store, and it stays quick to read."""


def image_store(image: Image) -> Store:
    """Return the store of images decoded as `image` says, with the rows that DVC's cache still has
    of the recorded data/images."""
    recipe = {
        **{k: v for k, v in image.record().items() if (k, v) != ("bits", FULL_DEPTH)},
        "pillow": PIL.__version__,
        "decoding": DECODING,
    }
    store = Store("images", recipe)
    if (before := read_recorded("data/index.csv")) is not None:
        listed = csv.DictReader(io.StringIO(before.decode(), newline=""))
        # the column was named `pixels` in November 2026
        pixels_of = {r["sha256"]: r.get("pixel_sha256") or r.get("pixels", "") for r in listed}
        recover_rows(store, pixels_of, "data/images", lambda key: pixels_of[key] or None)
    return store


def decode_into(store: Store, rows: list[dict], folder: Path, image: Image) -> int:
    """Decode the images that `store` lacks, and fill in the rows' digests or their problem.

    Args:
        store: of decoded images by the SHA-256 of their file.
        rows: one for each file, with its path in `folder`. `sha256`, `pixel_sha256` and `problem` are
            added: the digest of the file, of its pixels, and why it cannot be read.
        folder: data/raw.
        image: how an image is decoded.

    Returns:
        How many images were decoded.
    """
    channels = 3 if image.colour == "rgb" else 1
    at_once = max(LEAST_AT_ONCE, BYTES_AT_ONCE // (image.size**2 * channels))
    new = 0
    with (
        RawFiles(folder) as raw,
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
            note_progress(f"{start + len(some):,} of {len(rows):,} images")
            progress.advance(len(some))
    return new


def _decode(row: dict, raw: RawFiles, image: Image, store: Store) -> np.ndarray | None:
    """Fill in the row's digests or its problem. Return the pixels if the store lacks them."""
    content = raw.read(row["path"])
    row.update(sha256=hashlib.sha256(content).hexdigest(), pixels="", problem="")
    if row["sha256"] in store:
        row["pixel_sha256"] = pixel_sha256(store[row["sha256"]])
        return None
    try:
        pixels = decode(content, image)
    except BadImage as reason:
        row["problem"] = str(reason)
        return None
    row["pixel_sha256"] = pixel_sha256(pixels)
    return pixels
