"""Read images with more than 8 bits per value, and reduce them to 8."""

from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile, TiffImagePlugin

from thaw.config.dataset import Image
from thaw.data.formats import BadImage

PHOTOMETRIC, SAMPLE_FORMAT, BITS = 262, 339, 258  # TIFF tags
UNSIGNED, SIGNED, FLOAT = (1,), (2,), (3,)  # TIFF's sample formats
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1  # TIFF's photometric interpretations of grey

# Grey TIFFs by sample format and bits: Pillow's mode, and its raw mode if the file is little-endian
# and big-endian. Pillow's own table lacks some of them, most often those whose white is zero.
LAYOUTS = {
    (SIGNED, 8): ("L", "L", "L"),
    (UNSIGNED, 12): ("I;16", "I;12", "I;12"),
    (UNSIGNED, 16): ("I;16", "I;16", "I;16B"),
    (FLOAT, 16): ("I;16", "I;16", "I;16B"),
    (SIGNED, 16): ("I", "I;16S", "I;16BS"),
    (UNSIGNED, 32): ("I", "I;32", "I;32B"),
    (SIGNED, 32): ("I", "I;32S", "I;32BS"),
    (FLOAT, 32): ("F", "F;32F", "F;32BF"),
    (FLOAT, 64): ("F", "F;64F", "F;64BF"),
}
SWAPPED = {"I;16BS", "I;32B", "I;32BS", "F;32BF", "F;64BF"}  # raw modes that swap bytes


def _extend_pillow() -> None:
    for (kind, bits), (mode, little, big) in LAYOUTS.items():
        for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
            key = (photometric, kind, 1, (bits,), ())
            TiffImagePlugin.OPEN_INFO.setdefault((b"II", *key), (mode, little))
            in_place = "I;16B" if big == "I;16B" else mode
            TiffImagePlugin.OPEN_INFO.setdefault((b"MM", *key), (in_place, big))


_extend_pillow()


def repair_tiles(picture: ImageFile.ImageFile) -> None:
    """Correct how Pillow would read two kinds of TIFF, before it is loaded.

    It would swap the bytes of compressed big-endian values, which arrive in the machine's order,
    and read uncompressed planes of 16-bit colours as planes of 8 bits.
    """
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return
    order = "L" if picture.tag_v2.prefix == b"II" else "B"
    for number, tile in enumerate(picture.tile):
        rawmode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if tile.codec_name == "libtiff" and rawmode in SWAPPED:
            rawmode = rawmode.replace("B", "")
        elif tile.codec_name == "raw" and len(rawmode) == 1 and _bits(picture) == 16:
            rawmode = f"{rawmode};16{order}"
        picture.tile[number] = tile._replace(args=(rawmode, *rest))


def is_deep(picture: Pillow.Image) -> bool:
    """Return whether an image is grey with values that are not unsigned 8-bit integers."""
    signed = _tag(picture, SAMPLE_FORMAT) == SIGNED
    return picture.mode[0] in "IF" or (picture.mode == "L" and signed)


def to_8_bits(picture: Pillow.Image, image: Image) -> Pillow.Image:
    """Return a deep grey image as one with 8 bits, in which black is 0.

    Raises:
        BadImage: The range of the values is unknown, exceeds `image.bit_depth`, or some are no
            numbers.
    """
    values = _values(picture)
    if image.value_range is not None:
        low, high = image.value_range
        if np.isnan(values).any():
            raise BadImage("values that are not numbers (NaN): replace them")
        share = (values.astype("float64") - low) / (high - low)
        grey = np.rint(share.clip(0, 1) * 255).astype("uint8")
    elif values.dtype == "uint16":
        depth = min(image.bit_depth, _bits(picture) or image.bit_depth)
        if (largest := values.max()) >= 1 << depth:
            raise BadImage(
                f"values up to {largest:,}, more than dataset.image.bit_depth = {depth} allows"
            )
        grey = (values >> (depth - 8)).astype("uint8")
    else:
        raise BadImage(
            f"{values.dtype} values from {values.min():g} to {values.max():g}, whose black and "
            f"white are unknown: set dataset.image.value_range=[BLACK,WHITE]"
        )
    return Pillow.fromarray(255 - grey if _tag(picture, PHOTOMETRIC) == WHITE_IS_ZERO else grey)


def _values(picture: Pillow.Image) -> np.ndarray:
    """Return the values (height, width) in the type that the file has."""
    values, kind = np.asarray(picture), _tag(picture, SAMPLE_FORMAT) or UNSIGNED
    if picture.mode == "L":
        return values.view("int8")
    if picture.mode.startswith("I;16"):
        native = values.astype("uint16")
        return native.view("float16") if kind == FLOAT else native
    if picture.mode == "I":  # int32, whatever the file has
        if picture.format == "PPM":
            return values.astype("uint16")
        if kind == UNSIGNED:
            return values.view("uint32")
        return values.astype(f"int{_bits(picture)}")
    return values


def _bits(picture: Pillow.Image) -> int:
    """Return the bits of each value of a TIFF, or 0 if the image is of another format."""
    return (_tag(picture, BITS) or (0,))[0]


def _tag(picture: Pillow.Image, tag: int) -> Any:
    """Return a TIFF tag of an image, or None if it has none."""
    return getattr(picture, "tag_v2", {}).get(tag)
