import hashlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from thaw.config.dataset import Image as Parameters
from thaw.data.decoding import DECODING, BadImage, decode, nearest_indices, pixel_sha256

SIZE = 16


def read(content: bytes, **changed) -> np.ndarray:
    image = {"size": SIZE, "resampling": "bicubic", "colour": "rgb"}
    return decode(content, Parameters(**image | changed))


def rgb(content: bytes) -> np.ndarray:
    return read(content)


def resized(pixels: np.ndarray) -> np.ndarray:
    """By Pillow in floating point, rounded once."""
    channels = [
        Image.fromarray(channel.astype("float32")).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        for channel in np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
    ]
    return np.rint(np.stack([np.asarray(c) for c in channels], -1)).clip(0, 255).astype("uint8")


def png16(pixels: np.ndarray) -> bytes:
    """A PNG with 16 bits a channel, which Pillow reads but does not write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

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
def test_lossy_formats_give_nearly_the_same_pixels(picture, encoded, kind):
    pixels = picture()
    difference = rgb(encoded(pixels, kind)).astype(int) - resized(pixels)
    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_counts(encoded, kind):
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    content = encoded(red, kind, save_all=True, append_images=[blue])
    assert np.abs(rgb(content).astype(int) - [255, 0, 0]).max() < 10


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA"])
def test_every_colour_mode_is_read_as_rgb_and_as_grey(picture, encoded, mode):
    image = Image.fromarray(picture()).convert(mode)
    content = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    assert np.array_equal(rgb(content), resized(np.asarray(image.convert("RGB"))))
    grey = read(content, colour="grey")
    assert grey.shape == (SIZE, SIZE, 1) and grey.dtype == "uint8"
    if mode != "P":  # a palette's greys depend on the way to them
        assert (
            np.abs(grey[..., 0].astype(int) - resized(np.asarray(image.convert("L")))[..., 0]).max()
            <= 1
        )


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(24, 31), (9, 7), (16, 16), (80, 50), (1, 200)])
def test_resizing_is_nearly_pillows_own(picture, encoded, resampling, height, width):
    """Which rounds, and clips, twice."""
    pixels = picture(0, height, width)
    given = read(encoded(pixels), resampling=resampling).astype(int)
    pillow = Image.Resampling[resampling.upper()]
    theirs = np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), pillow))
    assert np.abs(given - theirs).max() <= (0 if resampling == "nearest" else 8)
    assert np.abs(given - theirs).mean() < 0.35


def test_the_nearest_pixel_is_tensorflows():
    from thaw.runtime.tensorflow import tf

    for length, size in [(224, 150), (300, 150), (37, 53), (2000, 97), (1, 8), (4032, 299)]:
        column = np.arange(length, dtype="float32")[None, :, None, None]
        theirs = tf.image.resize(column, (size, 1), "nearest").numpy().ravel()
        np.testing.assert_array_equal(nearest_indices(length, size), theirs)


def test_cmyk_jpeg_keeps_its_colours(encoded):
    red = rgb(encoded(Image.new("RGB", (20, 20), "red").convert("CMYK"), "JPEG"))
    assert np.abs(red.astype(int) - [255, 0, 0]).max() < 10


def test_transparency_lies_on_white(encoded):
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert (rgb(encoded(clear)) == 255).all()
    palette = Image.new("P", (20, 20), 3)
    assert (rgb(encoded(palette, "GIF", transparency=3)) == 255).all()
    assert (rgb(encoded(Image.new("L", (20, 20), 7), transparency=7)) == 255).all()


def test_sixteen_bits_become_their_upper_eight(encoded):
    values = np.full((20, 20), 0x80FF, "uint16")
    assert (read(png16(values), colour="grey") == 0x80).all()
    assert (rgb(png16(values)) == 0x80).all()
    assert (
        rgb(png16(np.stack([values, values >> 1, values >> 2], -1))) == [0x80, 0x40, 0x20]
    ).all()
    assert (rgb(encoded(Image.fromarray(values), "TIFF")) == 0x80).all()


def test_grey_pictures_of_twelve_bits_in_sixteen_become_their_upper_eight(encoded):
    values = np.full((20, 20), 0x8FF, "uint16")
    for content in (png16(values), encoded(Image.fromarray(values), "TIFF")):
        assert (read(content, bit_depth=12) == 0x8F).all()
        assert (read(content) == 0x08).all()
        with pytest.raises(BadImage, match="values up to 2,303, more than dataset.image.bits = 11"):
            read(content, bit_depth=11)
    grey = encoded(np.full((20, 20), 7, "uint8"))
    assert np.array_equal(read(grey, bit_depth=12), read(grey))


def test_the_bits_in_use_are_of_grey_pictures_alone():
    colour = png16(np.full((20, 20, 3), 0x8FF, "uint16"))
    with pytest.raises(BadImage, match="16 bits in colour: dataset.image.bits = 12 is for grey"):
        read(colour, bit_depth=12)


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_numbers_without_a_known_range_are_a_bad_image(encoded, kind):
    with pytest.raises(BadImage, match="pixels of 32 bits, whose black and white are unknown"):
        rgb(encoded(Image.fromarray(np.ones((20, 20), kind)), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_their_exif_orientation_says(picture, encoded, orientation):
    upright = Image.fromarray(picture())
    undo = {  # what turns the upright picture into what such a camera stores
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for turn in undo.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(rgb(encoded(stored, exif=exif)), resized(np.asarray(upright)))


def test_corrupt_exif_does_no_harm(picture, encoded):
    content = encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert rgb(content).shape == (SIZE, SIZE, 3)


def test_zero_bytes_are_a_bad_image():
    with pytest.raises(BadImage, match="zero bytes"):
        rgb(b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_bad_images(encoded, kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    content = encoded(noise, kind)
    with pytest.raises(BadImage, match="."):
        rgb(content[: int(len(content) * share)])


def test_text_named_as_a_picture_is_a_bad_image():
    with pytest.raises(BadImage, match="no image that Pillow can read"):
        rgb(b"<html>404 not found</html>")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(picture, encoded):
    content = bytearray(encoded(picture()))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(BadImage, match="60000 x 60000 pixels, too large"):
        rgb(bytes(content))


def test_what_lies_behind_a_jpeg_does_not_count_as_its_scans(picture, encoded):
    """A film, or the larger picture of a gain map; their bytes hold the marker by chance."""
    for kind in ({}, {"progressive": True}):
        content = encoded(picture(), "JPEG", **kind)
        assert np.array_equal(rgb(content + b"\xff\xda" * 200), rgb(content))


def test_stored_pixels_are_of_this_decoding(picture, encoded):
    """Where this digest changes, raise DECODING, or stores go on giving the pixels of before."""
    drawn = Image.fromarray(picture())
    files = [encoded(drawn.convert(m), "PNG") for m in ("1", "L", "LA", "P", "RGB", "RGBA")]
    files += [encoded(drawn.convert(m), "TIFF") for m in ("L", "RGB", "CMYK", "F", "I", "I;16")]
    files.append(png16(picture().astype("uint16") * 257))
    seen = hashlib.sha256()
    for content in files:
        for colour in ("rgb", "grey"):
            try:
                seen.update(read(content, resampling="nearest", colour=colour).tobytes())
            except BadImage as problem:
                seen.update(str(problem).encode())
    assert (DECODING, seen.hexdigest()[:16]) == (2, "7d63739295a32253")


def test_identity_is_of_the_pixels_and_not_of_the_file(picture, encoded):
    pixels = picture()
    same = {pixel_sha256(rgb(encoded(pixels, kind))) for kind in ("PNG", "BMP", "TIFF")}
    assert len(same) == 1
    assert pixel_sha256(rgb(encoded(picture(1)))) not in same
    assert pixel_sha256(pixels) != pixel_sha256(pixels.reshape(32, 24, 3))
