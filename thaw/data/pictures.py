"""List and decode the images that a command classifies."""

import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.data.formats import IMAGES, READ, BadImage
from thaw.data.tree import list_files
from thaw.errors import UserError, bullet_list


@dataclass
class Picture:
    """An image file and either its pixels or the reason why it cannot be read.

    Attributes:
        file: The path.
        pixels: (height, width, channels), uint8, or None.
        problem: The reason if `pixels` is None.
    """

    file: str
    pixels: np.ndarray | None
    problem: str | None


def find_pictures(paths: list[str]) -> list[str]:
    """Return the given files, with folders replaced by the images in them.

    Raises:
        UserError: A path does not exist, or a folder contains no images.
    """
    if missing := [path for path in paths if not os.path.exists(path)]:
        raise UserError(
            f"no such file or folder:\n{bullet_list(missing)}".replace(":\n  ", ": ", 1)
        )
    files, skipped = [], 0
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        below = list_files(Path(path))
        images = [os.path.join(path, file) for file in below if file.lower().endswith(IMAGES)]
        if not images:
            raise UserError(
                f"{path} contains no images. Expected files that end in {', '.join(READ)}."
            )
        files += images
        skipped += len(below) - len(images)
    if skipped:
        print(f"thaw: skipped {skipped:,} files without an image suffix", file=sys.stderr)
    return files


def decode_ahead(paths: list[str], image: Image, batch_size: int) -> Iterator[list[Picture]]:
    """Yield the decoded images in order, in batches.

    Threads decode up to two batches ahead, so memory does not grow with the number of images.

    Args:
        paths: Image files.
        image: How to decode them.
        batch_size: Images per batch; the last batch may be smaller.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        rest = iter(paths)
        waiting = deque(pool.submit(_read, path, image) for path in islice(rest, 2 * batch_size))
        batch = []
        while waiting:
            batch.append(waiting.popleft().result())
            waiting.extend(pool.submit(_read, path, image) for path in islice(rest, 1))
            if len(batch) == batch_size or not waiting:
                yield batch
                batch = []
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C must not wait for a slow disk


def _read(path: str, image: Image) -> Picture:
    try:
        content = Path(path).read_bytes()
        return Picture(path, decode(content, image), None)
    except (BadImage, OSError) as error:
        return Picture(path, None, getattr(error, "strerror", None) or str(error))
