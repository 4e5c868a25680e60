"""From an image file's bytes to a uint8 array."""

import contextlib
import hashlib
import io
import re
import threading
import warnings

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from thaw.config.dataset import Image

MOST_PIXELS = 250_000_000
"""Of one picture; more is taken for a decompression bomb."""

LARGE_PIXELS = 50_000_000
"""Of one picture; of those with more, one is decoded at a time, or threads would fill memory."""
MOST_SCANS = 100
"""Of a JPEG; a small file can ask for any number of passes over a large picture."""
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")
"""Of a segment of a JPEG."""
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "AVIF")
"""Of Pillow's readers, whatever a file is called; some others start programs."""

DECODING = 2
"""Raised when a picture gives other pixels, or none, than before: a part of the recipe of what is
stored. tests/images/test_decode.py notices when it has to be."""

_large = threading.Lock()
Pillow.MAX_IMAGE_PIXELS = None  # judged by `decode`, which names the size it refuses


class BadImage(Exception):
    """These bytes are no picture that can be read whole; its text says why."""


def decode(content: bytes, image: Image) -> np.ndarray:
    """A picture as an array (size, size, 3 for rgb or 1 for grey), uint8, as `image` says.

    The first frame of an animation; turned as its EXIF orientation says; whatever is transparent
    lies on white; of 16 bits a channel the upper 8 are taken, or those of the `image.bit_depth` that a
    grey picture uses. The whole picture is stretched to the square.

    Raises:
        BadImage: it is empty, truncated, no image, too large, or its numbers have no known range or
            another than `image.bit_depth` says.
    """
    if not content:
        raise BadImage("zero bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata does no harm to the pixels
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as picture:
                count = picture.width * picture.height
                if count > MOST_PIXELS:
                    raise BadImage(f"{picture.width} x {picture.height} pixels, too large")
                if content.startswith(b"\xff\xd8") and _scans(content) > MOST_SCANS:
                    raise BadImage(f"over {MOST_SCANS} scans, too many for a JPEG")
                with _large if count > LARGE_PIXELS else contextlib.nullcontext():
                    return _pixels(picture, image)
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly everything on damaged files
        reason = "no image that Pillow can read" if "cannot identify" in str(error) else error
        raise BadImage(f"{reason}") from None


def _scans(content: bytes) -> int:
    """How many scans a JPEG has, or one more than MOST_SCANS: its markers are followed as libjpeg
    does, to the picture's end, behind which a film may lie."""
    count, at = 0, 2
    while count <= MOST_SCANS and (marker := MARKER.search(content, at)):
        if marker[1] == b"\xd9":
            break
        count += marker[1] == b"\xda"
        at = marker.end() + max(2, int.from_bytes(content[marker.end() : marker.end() + 2], "big"))
    return count


def _pixels(picture: Pillow.Image, image: Image) -> np.ndarray:
    if image.bit_depth < 16 and picture.mode[0] != "I" and ";16" in str(picture.tile):
        raise BadImage(
            f"16 bits in colour: dataset.image.bit_depth = {image.bit_depth} is for grey pictures"
        )
    picture.load()
    with contextlib.suppress(Exception):  # corrupt EXIF: take the pixels as they lie
        ImageOps.exif_transpose(picture, in_place=True)
    mode = "RGB" if image.colour == "rgb" else "L"
    picture = _opaque(picture, image.bit_depth)
    picture = picture if picture.mode == mode else picture.convert(mode)
    return resize(picture, image.size, image.resampling)


def resize(picture: Pillow.Image, size: int, resampling: str) -> np.ndarray:
    """An RGB or grey picture as an array (size, size, 3 or 1), uint8.

    It is calculated in floating point and rounded once, so that a network's graph can do the same
    (thaw/cli/package.py). Pillow's own way with 8 bits rounds between rows and columns. One
    channel is converted at a time: a float takes four bytes.
    """
    if resampling == "nearest":
        rows, columns = (
            nearest_indices(length, size) for length in (picture.height, picture.width)
        )
        return np.asarray(picture)[rows][:, columns].reshape(size, size, -1)
    chosen = Pillow.Resampling[resampling.upper()]
    channels = [
        np.asarray(picture.getchannel(band).convert("F").resize((size, size), chosen))
        for band in picture.getbands()
    ]
    return np.rint(np.stack(channels, axis=-1)).clip(0, 255).astype("uint8")


def nearest_indices(length: int, size: int) -> np.ndarray:
    """Which of `length` pixels each of `size` shows: that under its centre, (size,) int64. Where
    a centre lies between two, float32 decides, as in TensorFlow."""
    centres = (np.arange(size, dtype="float32") + np.float32(0.5)) * np.float32(length / size)
    return np.minimum(centres.astype("int64"), length - 1)


def _opaque(picture: Pillow.Image, bits: int) -> Pillow.Image:
    if picture.mode in ("F", "I"):
        raise BadImage("pixels of 32 bits, whose black and white are unknown: save it with 8 or 16")
    if picture.mode.startswith("I"):  # 16 bits, where convert() would clip at 255
        values = np.asarray(picture).astype("int64")
        if (most := values.max()) >= 1 << bits:
            raise BadImage(
                f"values up to {most:,}, more than dataset.image.bit_depth = {bits} allows"
            )
        return Pillow.fromarray((values >> (bits - 8)).clip(0, 255).astype("uint8"))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(white, picture)
    return picture


def pixel_sha256(pixels: np.ndarray) -> str:
    """SHA-256 over shape and values: equal for the same picture in whatever file."""
    seen = hashlib.sha256(str(pixels.shape).encode())
    seen.update(np.ascontiguousarray(pixels))
    return seen.hexdigest()
