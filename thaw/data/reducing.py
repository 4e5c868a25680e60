"""Decode large images at a fraction of their size, before they are resized to their final size.

libjpeg decodes a JPEG directly at 1/2, 1/4 or 1/8 of its size. Images of other formats are averaged
in blocks of pixels after decoding. The reduced image is still larger than the final one, and the
resizing filter does the rest.
"""

import math

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from thaw.config.dataset import Image, height_width

# Version of this module, a part of the recipe of large images in the store. Raise it when one
# decodes differently; tests/thaw/data/test_reducing.py fails until then.
REDUCING = 1
MIN_PIXELS = 1_000_000  # per image; smaller ones are always decoded in full
# A reduced image is at least so many times wider and higher than the final one. With 1.5, decoding
# of 12 megapixels takes a quarter less time, and probabilities differ nearly twice as much from
# those of full decoding (benchmarks/README.md).
GAP = 3.0
JPEG_FRACTIONS = (8, 4, 2)  # of width and height
TURNS = {  # by EXIF orientation
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
FIRST_SIDEWAYS = 5  # EXIF orientations from this one on exchange width and height

Pair = tuple[float, float]  # width and height


def draft(picture: ImageFile.ImageFile, image: Image) -> Pair | None:
    """Decide from its header whether an image is reduced, and prepare it before it is loaded.

    Args:
        picture: An opened image. A large JPEG is set to be loaded at a fraction of its size, and
            directly in grey if `image.colour` is grey.
        image: How the image is decoded.

    Returns:
        The exact width and height of what `picture.load()` will give, in its pixels. None if the
        image is decoded in full, because it is small or resized by `nearest`.
    """
    width, height = picture.size
    if width * height < MIN_PIXELS or image.resampling == "nearest":
        return None
    # the EXIF orientation may follow the pixels in the file, so both are considered
    final = height_width(image.size)
    scale = min(_scale(picture.size, size, image.fit) for size in (final, final[::-1]))
    if scale < 2 * GAP:
        return None
    if not isinstance(picture, JpegImageFile):
        return width, height
    fraction = next(n for n in JPEG_FRACTIONS if scale >= n * GAP)
    mode = "L" if image.colour == "grey" and picture.mode == "RGB" else picture.mode
    picture.draft(mode, (width // fraction, height // fraction))
    return width / fraction, height / fraction


def resize_reduced(
    picture: Pillow.Image, extent: Pair, orientation: int, image: Image
) -> np.ndarray:
    """Return the final pixels of a large image.

    Args:
        picture: A loaded image of 8 bits, oriented as in the file.
        extent: Its exact width and height in its pixels, the last of which may be incomplete.
        orientation: Its EXIF orientation, 1 to 8.
        image: How the image is decoded.

    Returns:
        Pixels (height, width, 3 or 1), uint8.
    """
    height, width = height_width(image.size)
    size = (height, width) if orientation >= FIRST_SIDEWAYS else (width, height)
    if picture.mode in ("1", "P", "PA") or "transparency" in picture.info:  # no averages
        picture = picture.convert("L" if picture.mode == "1" else "RGBA")
    factor = int(_scale(extent, size, image.fit) / GAP)
    if factor > 1:
        picture = picture.reduce(factor)
        extent = extent[0] / factor, extent[1] / factor
    picture = opaque(picture).convert("RGB" if image.colour == "rgb" else "L")
    box, margins = _box(extent, size, image.fit)
    channels = []
    for band in picture.getbands():
        channel = picture.getchannel(band).convert("F")
        if any(margins):
            channel = _with_margins(channel, extent, margins)
        channel = channel.resize(size, Pillow.Resampling[image.resampling.upper()], box)
        if orientation in TURNS:
            channel = channel.transpose(TURNS[orientation])
        channels.append(np.asarray(channel))
    return np.rint(np.stack(channels, axis=-1)).clip(0, 255).astype("uint8")


def opaque(picture: Pillow.Image) -> Pillow.Image:
    """Return an image composited on white, if it has transparent pixels."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(white, picture)
    return picture


def _with_margins(channel: Pillow.Image, extent: Pair, margins: tuple[int, int]) -> Pillow.Image:
    """Add black margins to the sides and to top and bottom, also to incomplete last pixels."""
    values = np.array(channel)
    if margins[0]:
        values[:, -1] *= extent[0] - (channel.width - 1)
    if margins[1]:
        values[-1] *= extent[1] - (channel.height - 1)
    return ImageOps.expand(Pillow.fromarray(values), margins)


def _scale(size: Pair, final: Pair, fit: str) -> float:
    """Return how many times larger an image is than its final size, where it is so least."""
    scales = size[0] / final[0], size[1] / final[1]
    return max(scales) if fit == "pad" else min(scales)


def _box(
    extent: Pair, final: Pair, fit: str
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return the part of an image that gives the final one, and the margins to add for it.

    Returns:
        Left, top, right and bottom edge, in pixels, margins included; and the margins, of which
        there are two of each, in whole pixels.
    """
    width, height = extent
    if fit != "stretch":
        scale = (max if fit == "pad" else min)(width / final[0], height / final[1])
        width, height = scale * final[0], scale * final[1]
    left, top = (extent[0] - width) / 2, (extent[1] - height) / 2
    across, down = max(0, math.ceil(-left)), max(0, math.ceil(-top))
    left, top = left + across, top + down
    return (left, top, left + width, top + height), (across, down)
