"""An uploaded file as pixels, or a status and a sentence that say why not."""

import io
import warnings

import numpy as np
from PIL import Image as Pillow

from thaw.config.dataset import Image
from thaw.data.decoding import FORMATS, BadImage, decode


class Unusable(Exception):
    """This file cannot be used.

    Attributes:
        status: of HTTP, if it was the only file.
        said: why, without a full stop.
    """

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status, self.said = status, said


def pixels(content: bytes, image: Image, most_pixels: int) -> np.ndarray:
    """A file's pixels (size, size, channels), uint8, as thaw.data.decoding makes them.

    Its head is read first, which says its dimensions: nothing larger is decoded.

    Raises:
        Unusable: it is no image, damaged, or has more than `most_pixels`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as opened:
                width, height = opened.size
    except Exception:  # Pillow's readers raise nearly everything; decode() says it in words
        width = height = 0
    if width * height > most_pixels:
        said = f"{width:,} x {height:,} pixels are too many: at most {most_pixels:,} are decoded"
        raise Unusable(422, said)
    try:
        return decode(content, image)
    except BadImage as bad:
        said = " ".join(str(bad).split())
        raise Unusable(422 if width or not content else 415, said) from None
