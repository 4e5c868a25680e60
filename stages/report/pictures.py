"""Small pictures for the page, and which training images a test image is most like."""

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from stages.images.arrays import Arrays

AT_ONCE = 256
QUALITY = 72


def thumbnails(images: Arrays, keys: Iterable[str], size: int) -> dict[str, str]:
    """JPEG data URIs by the identity of the pixels, `size` pixels wide at most."""
    keys = list(dict.fromkeys(keys))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda key: thumbnail(images[key], size), keys)
        return dict(zip(keys, found, strict=True))


def thumbnail(pixels: np.ndarray, size: int) -> str:
    """A picture (height, width, channels), uint8, as a JPEG data URI of `size` pixels at most."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max(picture.size) > size:
        picture = picture.resize((size, size), Image.Resampling.BOX, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY if size > 32 else 92)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def directions(arrays: Arrays, keys: list[str]) -> np.ndarray:
    """Features (height, width, channels) averaged over the map and scaled to length 1, for each
    key: (n, channels), float32."""
    rows, some = arrays.select(keys), range(0, len(keys), AT_ONCE)
    return np.concatenate([direction(rows[start : start + AT_ONCE]) for start in some])


def direction(features: np.ndarray) -> np.ndarray:
    """As `directions`, of features (n, height, width, channels) themselves."""
    flat = features.reshape(len(features), -1, features.shape[-1])
    made = flat.mean(axis=1, dtype="float32")
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)


def nearest(of: np.ndarray, among: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `among` (m, channels) that each row of `of` (n, channels) is most like: their
    numbers and the cosines, (n, count), the nearest first."""
    count = min(count, len(among))
    numbers, cosines = [], []
    for start in range(0, len(of), AT_ONCE):
        like = of[start : start + AT_ONCE] @ among.T
        best = np.argpartition(-like, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(like, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        numbers.append(best)
        cosines.append(np.take_along_axis(like, best, axis=1))
    return np.concatenate(numbers), np.concatenate(cosines)
