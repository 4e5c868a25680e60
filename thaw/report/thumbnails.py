"""Small pictures for the page."""

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from thaw.storage.arrays import ArrayFolder

QUALITY = 72


def thumbnails(images: ArrayFolder, keys: Iterable[str], size: int) -> dict[str, str]:
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
