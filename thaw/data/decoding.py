"""Decode image files into uint8 arrays."""

import contextlib
import hashlib
import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile, ImageOps, UnidentifiedImageError, _imaging

from thaw.config.dataset import FULL_DEPTH, Image, Size, height_width
from thaw.data.bit_depth import is_deep, repair_tiles, to_8_bits
from thaw.data.formats import BadImage, is_heic, why_tiff_unread, why_unread
from thaw.data.reducing import Pair, draft, opaque, resize_reduced

MAX_PIXELS = 250_000_000  # per image; larger ones are treated as decompression bombs
LARGE_PIXELS = 40_000_000  # per image; larger ones are decoded one at a time to limit memory
MAX_SCANS = 100  # per JPEG; each scan is a pass over the image that costs the file few bytes
ORIENTATION = 0x0112  # EXIF tag
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")  # start of a JPEG segment
# Pillow's readers that are tried on every file; some of the others start programs
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "AVIF", "PPM")
# Version of the decoder, a part of the store's recipe. Raise it when an image decodes differently;
# tests/thaw/data/test_decoding.py fails until then.
DECODING = 3

_large_images = threading.Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # it logs what BadImage says
# Pillow's blocks of memory, bytes. glibc keeps freed blocks of up to 32 MiB for each thread
_imaging.set_block_size(2**26)
Pillow.MAX_IMAGE_PIXELS = None  # `decode` enforces MAX_PIXELS with a message that gives the size


def decode(content: bytes, image: Image) -> np.ndarray:
    """Decode an image file.

    Animations give their first frame. The EXIF orientation is applied, transparency is composited
    on white, and the image gets its size as `image.fit` says. 16-bit channels keep their upper 8
    bits; grey images that use only `image.bit_depth` of the 16 keep the upper 8 of those. Other
    values of more than 8 bits are scaled from `image.value_range`. Large images are reduced before
    they are resized (thaw/data/reducing.py).

    Args:
        content: The bytes of the file.
        image: Size, fit, resampling filter, colour mode and bit depth of the result.

    Returns:
        Pixels (height, width, channels), uint8, with 3 channels for rgb and 1 for grey.

    Raises:
        BadImage: The content is empty, truncated, not an image or too large, or the range of its
            values is unknown or exceeds `image.bit_depth`.
    """
    return decode_reporting(content, image)[0]


def decode_reporting(content: bytes, image: Image) -> tuple[np.ndarray, bool]:
    """Decode an image file as `decode` does, and return also whether it was reduced first."""
    if not content:
        raise BadImage("zero bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid metadata does not affect the pixels
            with open_picture(content) as picture:
                count = picture.width * picture.height
                if count > MAX_PIXELS:
                    raise BadImage(f"{picture.width} x {picture.height} pixels, too large")
                if content.startswith(b"\xff\xd8") and _scans(content) > MAX_SCANS:
                    raise BadImage(f"over {MAX_SCANS} scans, too many for a JPEG")
                extent = None if ImageFile.LOAD_TRUNCATED_IMAGES else draft(picture, image)
                if not picture.info.get("progressive"):  # it is decoded line by line
                    count = picture.width * picture.height
                with _large_images if count > LARGE_PIXELS else contextlib.nullcontext():
                    return _pixels(picture, image, extent), extent is not None
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # damaged files make Pillow raise almost any type
        raise BadImage(f"{error}") from None


def is_reduced(content: bytes, image: Image) -> bool:
    """Return whether `decode` reduces an image before it resizes it. Only its header is read."""
    try:
        with open_picture(content) as picture:
            return draft(picture, image) is not None
    except Exception:  # damaged files make Pillow raise almost any type
        return False


def open_picture(content: bytes) -> ImageFile.ImageFile:
    """Open an image file, of which only the header is read.

    Raises:
        BadImage: The content is in no format that is read. The reason names the format.
    """
    heic = is_heic(content)
    if heic:
        import pi_heif

        pi_heif.register_heif_opener()
    try:
        picture = Pillow.open(io.BytesIO(content), formats=("HEIF",) if heic else FORMATS)
    except UnidentifiedImageError:
        raise BadImage(why_unread(content)) from None
    if unread := why_tiff_unread(getattr(picture, "tag_v2", {}), readable=True):
        raise BadImage(unread)
    repair_tiles(picture)
    return picture


@contextlib.contextmanager
def accepting_truncated() -> Iterator[None]:
    """Decode images whose end is missing, inside a `with` statement.

    Pillow has one setting for all threads, so no other thread should decode meanwhile.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


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


def _pixels(picture: ImageFile.ImageFile, image: Image, extent: Pair | None) -> np.ndarray:
    if picture.mode[0] != "I" and ";16" in str(picture.tile):
        for key, default in (("bit_depth", FULL_DEPTH), ("value_range", None)):
            if (value := getattr(image, key)) != default:
                raise BadImage(
                    f"16-bit colour: dataset.image.{key} = {value} is for grey images only"
                )
    if picture.format == "PPM" and picture.tile[0].codec_name != "raw":
        # the file states its largest value, and Pillow scales by it
        image = image.model_copy(update={"bit_depth": FULL_DEPTH})
    picture.load()
    if extent is not None:
        flat = to_8_bits(picture, image) if is_deep(picture) else picture
        return resize_reduced(flat, extent, _orientation(picture), image)
    with contextlib.suppress(Exception):  # ignore corrupt EXIF data
        ImageOps.exif_transpose(picture, in_place=True)
    mode = "RGB" if image.colour == "rgb" else "L"
    flat = to_8_bits(picture, image) if is_deep(picture) else opaque(picture)
    converted = flat if flat.mode == mode else flat.convert(mode)
    return resize(converted, image.size, image.resampling, image.fit)


def _orientation(picture: Pillow.Image) -> int:
    with contextlib.suppress(Exception):  # ignore corrupt EXIF data
        return int(picture.getexif().get(ORIENTATION, 1))
    return 1


def resize(picture: Pillow.Image, size: Size, resampling: str, fit: str = "stretch") -> np.ndarray:
    """Resize an RGB or grey image.

    The computation is in float32 and rounds once, so that the graph of a packaged model can repeat
    it (thaw/models/resizing.py). Pillow's 8-bit resizing rounds twice, after rows and after
    columns. Channels are converted one at a time because a float takes four bytes.

    Args:
        picture: The image.
        size: Height and width of the result, in pixels.
        resampling: A filter of Pillow: nearest, bilinear, bicubic or lanczos.
        fit: stretch, crop or pad, as in dataset.image.fit.

    Returns:
        Pixels (height, width, 3 or 1), uint8.
    """
    height, width = height_width(size)
    if fit == "crop":
        picture = crop(picture, height, width)
    exact = "F" if resampling != "nearest" else "L"
    channels = []
    for band in picture.getbands():
        channel = picture.getchannel(band).convert(exact)
        if fit == "pad":
            channel = _resize_padded(channel, height, width, resampling)
        channels.append(np.asarray(_scale(channel, (width, height), resampling)))
    return np.rint(np.stack(channels, axis=-1)).clip(0, 255).astype("uint8")


def crop(picture: Pillow.Image, height: int, width: int) -> Pillow.Image:
    """Return the centre of an image, as large as possible in the proportions of a size."""
    inner_width = max(1, min(picture.width, picture.height * width // height))
    inner_height = max(1, min(picture.height, picture.width * height // width))
    left, top = (picture.width - inner_width) // 2, (picture.height - inner_height) // 2
    return picture.crop((left, top, left + inner_width, top + inner_height))


def _resize_padded(channel: Pillow.Image, height: int, width: int, resampling: str) -> Pillow.Image:
    """Return an image with equal black margins on two sides, scaled along the others.

    The others are scaled first: with margins at full size, a panorama takes too much memory.
    """
    across = (channel.height * width // height - channel.width) // 2
    down = (channel.width * height // width - channel.height) // 2
    if down > 0:
        channel = _scale(channel, (width, channel.height), resampling)
    elif across > 0:
        channel = _scale(channel, (channel.width, height), resampling)
    across, down = max(0, across), max(0, down)
    padded = Pillow.new(channel.mode, (channel.width + 2 * across, channel.height + 2 * down))
    padded.paste(channel, (across, down))
    return padded


def _scale(channel: Pillow.Image, size: tuple[int, int], resampling: str) -> Pillow.Image:
    """Resize a channel to a width and height."""
    if resampling != "nearest":
        return channel.resize(size, Pillow.Resampling[resampling.upper()])
    columns, rows = map(nearest_indices, channel.size, size)
    return Pillow.fromarray(np.asarray(channel)[rows][:, columns])


def nearest_indices(length: int, size: int) -> np.ndarray:
    """Return the source pixel of each pixel when `length` pixels are resized to `size`.

    The source is the pixel under the centre. Ties are decided by float32 rounding, as in
    TensorFlow.

    Returns:
        Indices below `length`, (size,), int64.
    """
    centres = (np.arange(size, dtype="float32") + np.float32(0.5)) * np.float32(length / size)
    return np.minimum(centres.astype("int64"), length - 1)


def pixel_sha256(pixels: np.ndarray) -> str:
    """Return the SHA-256 of shape and values, which identifies an image in any file format."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
