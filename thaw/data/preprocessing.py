"""Decode every image once and store the result."""

import csv
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from thaw.config.dataset import FULL_DEPTH, Image
from thaw.data.decoding import (
    DECODING,
    accepting_truncated,
    decode,
    decode_reporting,
    is_reduced,
    pixel_sha256,
)
from thaw.data.formats import BadImage
from thaw.data.raw import RawFiles, original_path
from thaw.data.reducing import REDUCING
from thaw.errors import UserError, bullet_list, note_progress
from thaw.runtime.progress import Progress
from thaw.storage.recovery import read_recorded, recover_rows
from thaw.storage.store import Store

MIN_SHARD_IMAGES = 256  # images in a shard of the store, however large they are
SHARD_BYTES = 2**24  # pixels in a shard of many small images, which stays fast to read


def image_stores(image: Image) -> tuple[Store, Store]:
    """Return the stores of large and of other images, after recovering images from DVC's cache.

    Large images are reduced before they are resized. Their store may contain other images too, and
    that of the others may contain large images that an earlier version decoded in full.

    Args:
        image: How the images are decoded; each store keeps one set of images for each value.
    """
    recipe = _recipe(image)
    large, store = Store("images", recipe | {"reducing": REDUCING}), Store("images", recipe)
    if (before := read_recorded("data/index.csv")) is not None:
        listed = csv.DictReader(io.StringIO(before.decode(), newline=""))
        # until November 2026 the column was named `pixels`
        pixels_of = {
            r["sha256"]: r.get("pixel_sha256") or r.get("pixels", "")
            for r in listed
            if not r.get("truncated")
        }
        for into, other in ((large, store), (store, large)):
            # data/images has images of both stores: each image is copied to one of them
            wanted = other.missing(pixels_of)
            recover_rows(into, wanted, "data/images", lambda key: pixels_of[key] or None)
    return large, store


def _recipe(image: Image) -> dict[str, Any]:
    return {
        **{k: v for k, v in image.record().items() if (k, v) != ("bits", FULL_DEPTH)},
        "pillow": PIL.__version__,
        "decoding": DECODING,
    }


def decode_into(
    large: Store, store: Store, rows: list[dict[str, str]], folder: Path, image: Image
) -> tuple[int, int]:
    """Decode the images that are missing in the stores, and complete the rows.

    Args:
        large: Large images, which are reduced, by the SHA-256 of their file.
        store: The other images by the SHA-256 of their file.
        rows: One for each file, with its `path` in `folder`. This function adds `sha256` (digest
            of the file), `pixel_sha256` (digest of its pixels) and `problem` (why the file cannot
            be read, or "").
        folder: data/raw.
        image: How to decode the images.

    Returns:
        The number of decoded images, and the number of rows whose image is large.
    """
    shard = max(MIN_SHARD_IMAGES, SHARD_BYTES // int(np.prod(image.shape)))
    new = count_large = 0
    with (
        RawFiles(folder) as raw,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress("preprocess", len(rows)) as progress,
    ):
        for start in range(0, len(rows), shard):
            batch = rows[start : start + shard]
            known = ((row["path"], raw.known_sha256(row["path"])) for row in batch)
            raw.expect(path for path, key in known if key not in large and key not in store)
            decoded = list(pool.map(lambda row: _decode(row, raw, image, large, store), batch))
            for into, wanted in ((large, True), (store, False)):
                missing = {
                    row["sha256"]: pixels
                    for row, (pixels, reduced) in zip(batch, decoded, strict=True)
                    if pixels is not None and reduced == wanted
                }
                if missing:
                    into.add(list(missing), np.stack(list(missing.values())))
                new += len(missing)
            count_large += sum(reduced for _, reduced in decoded)
            note_progress(f"{start + len(batch):,} of {len(rows):,} images")
            progress.advance(len(batch))
    return new, count_large


def decode_truncated(rows: list[dict[str, str]], folder: Path, image: Image) -> Store:
    """Decode the images whose end is missing, whose last rows stay grey or black.

    Args:
        rows: As `decode_into` completed them. Of each image that can be read this way, `problem`
            becomes "", and `truncated` is the reason why it cannot be read otherwise.
        folder: data/raw.
        image: How to decode the images.

    Returns:
        The images by the SHA-256 of their file. They have a store of their own, so that a run that
        does not accept them never finds them.
    """
    store = Store("images", {**_recipe(image), "truncated": True})
    with RawFiles(folder) as raw, accepting_truncated():
        for row in rows:
            if not row["problem"]:
                continue
            key = row["sha256"]
            if key not in store:
                try:
                    pixels = decode(raw.read(row["path"]), image)
                except BadImage:
                    continue
                store.add([key], pixels[None])
            row.update(pixel_sha256=pixel_sha256(store[key]), problem="", truncated=row["problem"])
    return store


def check_readable(rows: list[dict[str, str]], on_bad_image: str) -> None:
    """Check that the images can be read, or that those that cannot are to be skipped.

    Raises:
        UserError: Images cannot be read.
    """
    bad = [row for row in rows if row["problem"]]
    if bad and on_bad_image != "skip":
        raise UserError(
            f"{len(bad)} of {len(rows)} images cannot be read. Repair or remove them, or skip "
            f"them with -S dataset.on_bad_image=skip (truncate accepts those whose end is "
            f"missing):\n{list_problems(bad)}"
        )
    if len(bad) == len(rows):
        raise UserError(f"None of the {len(rows)} images can be read.")


def list_problems(rows: list[dict[str, str]], reason: str = "problem") -> str:
    """Return the original paths of the first rows, each with its value in the column `reason`."""
    return bullet_list([f"{original_path(row['path'])}: {row[reason]}" for row in rows])


def _decode(
    row: dict[str, str], raw: RawFiles, image: Image, large: Store, store: Store
) -> tuple[np.ndarray | None, bool]:
    """Complete the row. Return the pixels if they are missing, and whether the image is large."""
    key = raw.known_sha256(row["path"])  # of an image at an address, which need not be read again
    row.update(sha256=key, pixel_sha256="", problem="")
    if key in large or key in store:
        row["pixel_sha256"] = pixel_sha256((large if key in large else store)[key])
        return None, key in large
    content = raw.read(row["path"])
    row["sha256"] = key = hashlib.sha256(content).hexdigest()
    if key in large or key in store:
        reduced = is_reduced(content, image)
        if key in large or not reduced:
            row["pixel_sha256"] = pixel_sha256((large if key in large else store)[key])
            return None, reduced
    try:
        pixels, reduced = decode_reporting(content, image)
    except BadImage as reason:
        row["problem"] = str(reason)
        return None, False
    row["pixel_sha256"] = pixel_sha256(pixels)
    return pixels, reduced
