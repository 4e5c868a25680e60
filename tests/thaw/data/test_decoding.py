import hashlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from thaw.config.dataset import Image as Parameters
from thaw.data.decoding import DECODING, decode, nearest_indices, pixel_sha256
from thaw.data.formats import BadImage

SIZE = 16


def decode_as(content: bytes, **changed) -> np.ndarray:
    image = {"size": SIZE, "resampling": "bicubic", "colour": "rgb"}
    return decode(content, Parameters(**image | changed))


def rgb(content: bytes) -> np.ndarray:
    return decode_as(content)


def resized(pixels: np.ndarray) -> np.ndarray:
    """Resize with Pillow in floating point and round once."""
    channels = [
        Image.fromarray(channel.astype("float32")).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        for channel in np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
    ]
    return np.rint(np.stack([np.asarray(c) for c in channels], -1)).clip(0, 255).astype("uint8")


def png16(pixels: np.ndarray) -> bytes:
    """Return a PNG with 16 bits per channel, which Pillow can read but not write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("TIFF", {})],
)
def test_lossless_formats_give_the_same_pixels(picture, encoded, kind, options):
    pixels = picture()
    assert np.array_equal(rgb(encoded(pixels, kind, **options)), resized(pixels))


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP"])
def test_lossy_formats_give_similar_pixels(picture, encoded, kind):
    pixels = picture()
    difference = rgb(encoded(pixels, kind)).astype(int) - resized(pixels)
    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(encoded, kind):
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    content = encoded(red, kind, save_all=True, append_images=[blue])
    assert np.abs(rgb(content).astype(int) - [255, 0, 0]).max() < 10


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA"])
def test_all_colour_modes_convert_to_rgb_and_grey(picture, encoded, mode):
    image = Image.fromarray(picture()).convert(mode)
    content = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    assert np.array_equal(rgb(content), resized(np.asarray(image.convert("RGB"))))
    grey = decode_as(content, colour="grey")
    assert grey.shape == (SIZE, SIZE, 1) and grey.dtype == "uint8"
    if mode != "P":  # with a palette, grey depends on the order of conversions
        assert (
            np.abs(grey[..., 0].astype(int) - resized(np.asarray(image.convert("L")))[..., 0]).max()
            <= 1
        )


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(24, 31), (9, 7), (16, 16), (80, 50), (1, 200)])
def test_resizing_is_close_to_pillows_8_bit_resizing(picture, encoded, resampling, height, width):
    """Pillow rounds and clips twice in its 8-bit resizing."""
    pixels = picture(0, height, width)
    actual = decode_as(encoded(pixels), resampling=resampling).astype(int)
    pillow = Image.Resampling[resampling.upper()]
    pillows = np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), pillow))
    assert np.abs(actual - pillows).max() <= (0 if resampling == "nearest" else 8)
    assert np.abs(actual - pillows).mean() < 0.35


def test_nearest_indices_equal_those_of_tensorflow():
    from thaw.runtime.tensorflow import tf

    for length, size in [(224, 150), (300, 150), (37, 53), (2000, 97), (1, 8), (4032, 299)]:
        column = np.arange(length, dtype="float32")[None, :, None, None]
        tensorflows = tf.image.resize(column, (size, 1), "nearest").numpy().ravel()
        np.testing.assert_array_equal(nearest_indices(length, size), tensorflows)


def test_cmyk_jpeg_keeps_its_colours(encoded):
    red = rgb(encoded(Image.new("RGB", (20, 20), "red").convert("CMYK"), "JPEG"))
    assert np.abs(red.astype(int) - [255, 0, 0]).max() < 10


def test_transparency_is_composited_on_white(encoded):
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert (rgb(encoded(clear)) == 255).all()
    palette = Image.new("P", (20, 20), 3)
    assert (rgb(encoded(palette, "GIF", transparency=3)) == 255).all()
    assert (rgb(encoded(Image.new("L", (20, 20), 7), transparency=7)) == 255).all()


def test_16_bit_images_keep_their_upper_8_bits(encoded):
    values = np.full((20, 20), 0x80FF, "uint16")
    assert (decode_as(png16(values), colour="grey") == 0x80).all()
    assert (rgb(png16(values)) == 0x80).all()
    assert (
        rgb(png16(np.stack([values, values >> 1, values >> 2], -1))) == [0x80, 0x40, 0x20]
    ).all()
    assert (rgb(encoded(Image.fromarray(values), "TIFF")) == 0x80).all()


def test_12_bit_grey_images_keep_their_upper_8_bits(encoded):
    values = np.full((20, 20), 0x8FF, "uint16")
    for content in (png16(values), encoded(Image.fromarray(values), "TIFF")):
        assert (decode_as(content, bit_depth=12) == 0x8F).all()
        assert (decode_as(content) == 0x08).all()
        with pytest.raises(
            BadImage, match="values up to 2,303, more than dataset.image.bit_depth = 11"
        ):
            decode_as(content, bit_depth=11)
    grey = encoded(np.full((20, 20), 7, "uint8"))
    assert np.array_equal(decode_as(grey, bit_depth=12), decode_as(grey))


def test_bit_depth_is_refused_for_colour_images():
    colour = png16(np.full((20, 20, 3), 0x8FF, "uint16"))
    with pytest.raises(BadImage, match="16-bit colour: dataset.image.bit_depth = 12 is for grey"):
        decode_as(colour, bit_depth=12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(picture, encoded, orientation):
    upright = Image.fromarray(picture())
    undo = {  # transforms the upright image into what a camera stores
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    rotated = upright
    for turn in undo.get(orientation, []):
        rotated = rotated.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(rgb(encoded(rotated, exif=exif)), resized(np.asarray(upright)))


def test_corrupt_exif_is_ignored(picture, encoded):
    content = encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert rgb(content).shape == (SIZE, SIZE, 3)


def test_empty_files_are_refused():
    with pytest.raises(BadImage, match="zero bytes"):
        rgb(b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused(encoded, kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    content = encoded(noise, kind)
    with pytest.raises(BadImage, match="."):
        rgb(content[: int(len(content) * share)])


def test_text_files_are_refused():
    with pytest.raises(BadImage, match="an HTML page, not an image"):
        rgb(b"<html>404 not found</html>")


def test_images_with_too_many_pixels_are_refused_before_decoding(picture, encoded):
    content = bytearray(encoded(picture()))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(BadImage, match="60000 x 60000 pixels, too large"):
        rgb(bytes(content))


def test_data_after_the_end_of_a_jpeg_does_not_count_as_scans(picture, encoded):
    """A video or a gain map may follow the image and contain the marker by chance."""
    for kind in ({}, {"progressive": True}):
        content = encoded(picture(), "JPEG", **kind)
        assert np.array_equal(rgb(content + b"\xff\xda" * 200), rgb(content))


def test_decoded_pixels_belong_to_this_version_of_the_decoder(picture, encoded, tiff):
    """If this digest changes, raise DECODING, or the store keeps returning the old pixels."""
    drawn = Image.fromarray(picture())
    files = [encoded(drawn.convert(m), "PNG") for m in ("1", "L", "LA", "P", "RGB", "RGBA")]
    files += [encoded(drawn.convert(m), "TIFF") for m in ("L", "RGB", "CMYK", "F", "I", "I;16")]
    files.append(png16(picture().astype("uint16") * 257))
    files += [tiff(picture()[..., 0].astype(kind), 0) for kind in ("u1", "u2", "f4")]
    digest = hashlib.sha256()
    for content in files:
        for colour in ("rgb", "grey"):
            try:
                digest.update(decode_as(content, resampling="nearest", colour=colour).tobytes())
            except BadImage as problem:
                digest.update(str(problem).encode())
    assert (DECODING, digest.hexdigest()[:16]) == (3, "5753d00f73a9bc68")


def test_pixel_sha256_depends_on_pixels_and_not_on_the_file_format(picture, encoded):
    pixels = picture()
    same = {pixel_sha256(rgb(encoded(pixels, kind))) for kind in ("PNG", "BMP", "TIFF")}
    assert len(same) == 1
    assert pixel_sha256(rgb(encoded(picture(1)))) not in same
    assert pixel_sha256(pixels) != pixel_sha256(pixels.reshape(32, 24, 3))
