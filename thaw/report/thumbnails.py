"""Encode small images for the page."""

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from thaw.storage.arrays import ArrayFolder

QUALITY, TINY_QUALITY = 72, 92  # JPEG quality; blocks would be visible in an enlarged tiny image
TINY = 32  # pixels; the page enlarges images up to this size


def thumbnails(images: ArrayFolder, keys: Iterable[str], size: int) -> dict[str, str]:
    """Return JPEG data URIs of images, at most `size` pixels wide, by `pixel_sha256`."""
    keys = list(dict.fromkeys(keys))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        uris = pool.map(lambda key: thumbnail(images[key], size), keys)
        return dict(zip(keys, uris, strict=True))


def thumbnail(pixels: np.ndarray, size: int) -> str:
    """Return an image as a JPEG data URI.

    Args:
        pixels: shape (height, width, channels), uint8.
        size: maximal width and height in pixels.
    """
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max(image.size) > size:
        image = image.resize((size, size), Image.Resampling.BOX, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY if size > TINY else TINY_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
