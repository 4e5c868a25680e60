"""Decode uploaded files, with an HTTP status and a message for files that cannot be used."""

import warnings

import numpy as np

from thaw.config.dataset import Image
from thaw.data.decoding import decode, open_picture
from thaw.data.formats import BadImage


class UploadError(Exception):
    """An uploaded file cannot be used.

    Attributes:
        status: the HTTP status if this was the only file.
        message: the reason, without a full stop.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def decode_upload(content: bytes, image: Image, max_pixels: int) -> np.ndarray:
    """Decode and resize an uploaded image as thaw.data.decoding does.

    The dimensions are read from the header first, so that nothing larger is decoded.

    Args:
        content: the file's bytes.
        image: the size and the channels that the model expects.
        max_pixels: the largest product of width and height before resizing.

    Returns:
        (height, width, channels), uint8.

    Raises:
        UploadError: it is not an image, is damaged, or has more than `max_pixels`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_picture(content) as opened:
                width, height = opened.size
    except Exception:  # Pillow's readers raise nearly everything; decode() explains it
        width = height = 0
    if width * height > max_pixels:
        raise UploadError(
            422, f"the image has {width:,} x {height:,} pixels. At most {max_pixels:,} are accepted"
        )
    try:
        return decode(content, image)
    except BadImage as error:
        status = 422 if width or not content else 415
        raise UploadError(status, " ".join(str(error).split())) from None
