"""The pictures a command is given: found first, then decoded ahead of the network."""

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
from thaw.data.class_folders import IMAGES, list_files
from thaw.data.decoding import BadImage, decode
from thaw.errors import UserError, bullet_list


@dataclass
class Picture:
    """A file, and its pixels (size, size, channels), uint8, or why there are none."""

    file: str
    pixels: np.ndarray | None
    problem: str | None


def find_pictures(given: list[str]) -> list[str]:
    """The files that are meant: those given, and the images below folders that are.

    Raises:
        UserError: a path does not exist, or a folder holds no image.
    """
    if missing := [path for path in given if not os.path.exists(path)]:
        raise UserError(
            f"no such file or folder:\n{bullet_list(missing)}".replace(":\n  ", ": ", 1)
        )
    found, others = [], 0
    for path in given:
        if not os.path.isdir(path):
            found.append(path)
            continue
        below = list_files(Path(path))
        images = [os.path.join(path, file) for file in below if file.lower().endswith(IMAGES)]
        if not images:
            raise UserError(f"{path} holds no image. Expected are {', '.join(IMAGES)}.")
        found += images
        others += len(below) - len(images)
    if others:
        print(f"thaw: left out, since no images by name: {others:,} files", file=sys.stderr)
    return found


def decode_ahead(paths: list[str], image: Image, at_once: int) -> Iterator[list[Picture]]:
    """The pictures in order, `at_once` at a time. Threads read up to twice as many ahead, so that
    memory does not grow with their number."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        rest = iter(paths)
        waiting = deque(pool.submit(_read, path, image) for path in islice(rest, 2 * at_once))
        some = []
        while waiting:
            some.append(waiting.popleft().result())
            waiting.extend(pool.submit(_read, path, image) for path in islice(rest, 1))
            if len(some) == at_once or not waiting:
                yield some
                some = []
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C waits for no slow disk


def _read(path: str, image: Image) -> Picture:
    try:
        content = Path(path).read_bytes()
        return Picture(path, decode(content, image), None)
    except (BadImage, OSError) as error:
        return Picture(path, None, getattr(error, "strerror", None) or str(error))
