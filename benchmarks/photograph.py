"""Generate JPEG files that resemble photographs."""

import io

import numpy as np
from PIL import Image


def photograph(random: np.random.Generator) -> bytes:
    """Return a JPEG file of 400 x 300 pixels: smooth colours with some noise."""
    small = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype="uint8"))
    smooth = np.asarray(small.resize((400, 300), Image.Resampling.BICUBIC), "int16")
    noisy = smooth + random.integers(-12, 13, smooth.shape, dtype="int16")
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype("uint8")).save(file, "JPEG", quality=85)
    return file.getvalue()
