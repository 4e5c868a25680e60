"""Decode image files into uint8 arrays."""

import contextlib
import hashlib
import io
import re
import threading
import warnings

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile, ImageOps

from thaw.config.dataset import Image

MAX_PIXELS = 250_000_000  # per image; larger ones are treated as decompression bombs
LARGE_PIXELS = 50_000_000  # per image; larger ones are decoded one at a time to limit memory
MAX_SCANS = 100  # per JPEG; each scan is a pass over the image that costs the file few bytes
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")  # start of a JPEG segment
# Pillow's readers that are tried on every file; some of the others start programs
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "AVIF")
# Version of the decoder, a part of the store's recipe. Raise it when an image decodes differently;
# tests/thaw/data/test_decoding.py fails until then.
DECODING = 2

_large_images = threading.Lock()
Pillow.MAX_IMAGE_PIXELS = None  # `decode` enforces MAX_PIXELS with a message that gives the size


class BadImage(Exception):
    """Raised for content that is not a complete, readable image. Its text is the reason."""


def decode(content: bytes, image: Image) -> np.ndarray:
    """Decode an image file.

    Animations give their first frame. The EXIF orientation is applied, transparency is composited
    on white, and the image is stretched to a square. 16-bit channels keep their upper 8 bits; grey
    images that use only `image.bit_depth` of the 16 keep the upper 8 of those.

    Args:
        content: The bytes of the file.
        image: Size, resampling filter, colour mode and bit depth of the result.

    Returns:
        Pixels (size, size, channels), uint8, with 3 channels for rgb and 1 for grey.

    Raises:
        BadImage: The content is empty, truncated, not an image or too large, or the range of its
            values is unknown or exceeds `image.bit_depth`.
    """
    if not content:
        raise BadImage("zero bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid metadata does not affect the pixels
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as picture:
                count = picture.width * picture.height
                if count > MAX_PIXELS:
                    raise BadImage(f"{picture.width} x {picture.height} pixels, too large")
                if content.startswith(b"\xff\xd8") and _scans(content) > MAX_SCANS:
                    raise BadImage(f"over {MAX_SCANS} scans, too many for a JPEG")
                with _large_images if count > LARGE_PIXELS else contextlib.nullcontext():
                    return _pixels(picture, image)
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # damaged files make Pillow raise almost any type
        reason = "no image that Pillow can read" if "cannot identify" in str(error) else error
        raise BadImage(f"{reason}") from None


def _scans(content: bytes) -> int:
    """Return the number of scans of a JPEG, at most MAX_SCANS + 1.

    Like libjpeg, this follows the markers to the end of the image. A video may come after it.
    """
    count, position = 0, 2
    while count <= MAX_SCANS and (marker := MARKER.search(content, position)):
        if marker[1] == b"\xd9":
            break
        count += marker[1] == b"\xda"
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(2, length)
    return count


def _pixels(picture: ImageFile.ImageFile, image: Image) -> np.ndarray:
    if image.bit_depth < 16 and picture.mode[0] != "I" and ";16" in str(picture.tile):
        raise BadImage(
            f"16-bit colour: dataset.image.bit_depth = {image.bit_depth} is for grey images only"
        )
    picture.load()
    with contextlib.suppress(Exception):  # ignore corrupt EXIF data
        ImageOps.exif_transpose(picture, in_place=True)
    mode = "RGB" if image.colour == "rgb" else "L"
    opaque = _opaque(picture, image.bit_depth)
    converted = opaque if opaque.mode == mode else opaque.convert(mode)
    return resize(converted, image.size, image.resampling)


def resize(picture: Pillow.Image, size: int, resampling: str) -> np.ndarray:
    """Resize an RGB or grey image to a square.

    The computation is in float32 and rounds once, so that the graph of a packaged model can repeat
    it (thaw/cli/package.py). Pillow's 8-bit resizing rounds twice, after rows and after columns.
    Channels are converted one at a time because a float takes four bytes.

    Args:
        size: Height and width of the result, in pixels.
        resampling: A filter of Pillow: nearest, bilinear, bicubic or lanczos.

    Returns:
        Pixels (size, size, 3 or 1), uint8.
    """
    if resampling == "nearest":
        rows, columns = (
            nearest_indices(length, size) for length in (picture.height, picture.width)
        )
        return np.asarray(picture)[rows][:, columns].reshape(size, size, -1)
    kernel = Pillow.Resampling[resampling.upper()]
    channels = [
        np.asarray(picture.getchannel(band).convert("F").resize((size, size), kernel))
        for band in picture.getbands()
    ]
    return np.rint(np.stack(channels, axis=-1)).clip(0, 255).astype("uint8")


def nearest_indices(length: int, size: int) -> np.ndarray:
    """Return the source pixel of each pixel when `length` pixels are resized to `size`.

    The source is the pixel under the centre. Ties are decided by float32 rounding, as in
    TensorFlow.

    Returns:
        Indices below `length`, (size,), int64.
    """
    centres = (np.arange(size, dtype="float32") + np.float32(0.5)) * np.float32(length / size)
    return np.minimum(centres.astype("int64"), length - 1)


def _opaque(picture: Pillow.Image, bit_depth: int) -> Pillow.Image:
    if picture.mode in ("F", "I"):
        raise BadImage("pixels of 32 bits, whose black and white are unknown: save it with 8 or 16")
    if picture.mode.startswith("I"):  # 16 bits, which convert() would clip at 255
        values = np.asarray(picture).astype("int64")
        if (largest := values.max()) >= 1 << bit_depth:
            raise BadImage(
                f"values up to {largest:,}, more than dataset.image.bit_depth = {bit_depth} allows"
            )
        return Pillow.fromarray((values >> (bit_depth - 8)).clip(0, 255).astype("uint8"))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(white, picture)
    return picture


def pixel_sha256(pixels: np.ndarray) -> str:
    """Return the SHA-256 of shape and values, which identifies an image in any file format."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
