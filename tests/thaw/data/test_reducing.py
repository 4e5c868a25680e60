import hashlib

import numpy as np
import pytest
from PIL import Image

from thaw.config.dataset import Image as Parameters
from thaw.data import decoding
from thaw.data.decoding import decode, is_reduced
from thaw.data.formats import BadImage
from thaw.data.preprocessing import decode_into, image_stores
from thaw.data.reducing import REDUCING

SIZE = 64


def parameters(**changed) -> Parameters:
    return Parameters(**{"size": SIZE, "resampling": "bicubic", "colour": "rgb"} | changed)


def photograph(width: int = 1203, height: int = 901, seed: int = 0) -> Image.Image:
    """Return smooth shapes with fine noise, which differ in every corner."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype="uint8"))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), "int16")
    noisy = smooth + random.integers(-12, 13, smooth.shape, dtype="int16")
    return Image.fromarray(noisy.clip(0, 255).astype("uint8"))


@pytest.fixture(scope="module")
def large():
    return photograph()


@pytest.fixture
def in_full(monkeypatch):
    """Return `decode` without reducing."""

    def decoded(content: bytes, image: Parameters) -> np.ndarray:
        with monkeypatch.context() as patch:
            patch.setattr(decoding, "draft", lambda *_: None)
            return decode(content, image)

    return decoded


def assert_close(content: bytes, image: Parameters, in_full, limit: float = 1.0) -> None:
    assert is_reduced(content, image)
    actual, expected = decode(content, image), in_full(content, image)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    difference = np.abs(actual.astype(int) - expected)
    assert difference.mean() < limit, difference.mean()
    assert np.quantile(difference, 0.999) <= 10


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("BMP", {})])
def test_reduced_images_are_close_to_those_decoded_in_full(
    large, encoded, in_full, kind, options, fit
):
    content = encoded(large, kind, **options)
    for size, resampling in ((SIZE, "bilinear"), ([48, 96], "bicubic"), ([96, 48], "lanczos")):
        assert_close(content, parameters(fit=fit, size=size, resampling=resampling), in_full)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_reduced_images_are_rotated_by_their_exif_orientation(
    large, encoded, in_full, kind, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"compress_level": 0}
    content = encoded(large, kind, exif=exif, **options)
    assert_close(content, parameters(fit="pad", size=[56, 80]), in_full)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_reduced_images_of_all_modes_are_close_to_those_decoded_in_full(
    large, encoded, in_full, mode
):
    if mode == "I;16":
        source = Image.fromarray(np.asarray(large.convert("L")).astype("uint16") * 257)
    else:
        source = large.convert(mode)
    if mode in ("LA", "RGBA"):
        source.putalpha(Image.linear_gradient("L").resize(source.size))
    kind = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    content = encoded(source, kind, **({"compress_level": 0} if kind == "PNG" else {}))
    for colour in ("rgb", "grey"):
        assert_close(content, parameters(colour=colour), in_full)
    if mode == "P":  # one colour of the palette is transparent
        assert_close(encoded(source, transparency=3), parameters(), in_full, limit=3)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_are_reduced(large, encoded, in_full, mode):
    content = encoded(large.convert(mode), "JPEG", quality=95)
    for colour in ("rgb", "grey"):
        assert_close(content, parameters(colour=colour), in_full)


def test_grey_pixels_of_a_colour_jpeg_are_decoded_without_its_colours(large, encoded, in_full):
    for options in ({"quality": 95}, {"quality": 95, "progressive": True}):
        assert_close(encoded(large, "JPEG", **options), parameters(colour="grey"), in_full)


def test_an_image_that_is_not_much_larger_is_decoded_in_full(encoded):
    few_pixels = encoded(photograph(999, 1000), "JPEG")
    assert not is_reduced(few_pixels, parameters())
    enough_pixels = photograph(1200, 900)
    for kind in ("JPEG", "PNG"):
        content = encoded(enough_pixels, kind)
        assert not is_reduced(content, parameters(size=151))
        assert is_reduced(content, parameters(size=150))
        assert not is_reduced(content, parameters(size=150, resampling="nearest"))


def test_small_images_keep_their_pixels(encoded):
    """These are the pixels of November 2026, which the recipe of small images stands for."""
    digest, content = hashlib.sha256(), encoded(photograph(640, 480), "BMP")
    for resampling in ("nearest", "bicubic", "lanczos"):
        for fit in ("stretch", "crop", "pad"):
            image = parameters(resampling=resampling, fit=fit, size=[40, 56])
            digest.update(decode(content, image).tobytes())
    assert digest.hexdigest()[:16] == "3a4f0e62c8c9ba87"


def test_reduced_pixels_belong_to_this_version(large, encoded):
    """If this digest changes, raise REDUCING, or the store keeps returning the old pixels."""
    digest = hashlib.sha256()
    for mode in ("L", "P", "RGB", "RGBA"):
        content = encoded(large.convert(mode), compress_level=0)
        for fit in ("stretch", "crop", "pad"):
            digest.update(decode(content, parameters(fit=fit, size=[56, 80])).tobytes())
    assert (REDUCING, digest.hexdigest()[:16]) == (1, "38379d2b3e6b2f7a")


def test_truncated_large_images_are_refused(large, encoded):
    for options in ({}, {"progressive": True}):
        content = encoded(large, "JPEG", **options)
        with pytest.raises(BadImage, match="truncated"):
            decode(content[: len(content) // 2], parameters())


def test_large_images_that_were_decoded_in_full_are_decoded_again(tmp_path, encoded, large):
    image = parameters()
    files = {"large.jpg": encoded(large, "JPEG"), "small.png": encoded(photograph(90, 80))}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    old = np.zeros((SIZE, SIZE, 3), "uint8")
    reduced, full = image_stores(image)
    keys = [hashlib.sha256(content).hexdigest() for content in files.values()]
    full.add(keys, np.stack([old, old]))
    rows = [{"path": name} for name in files]
    assert decode_into(reduced, full, rows, tmp_path, image) == (1, 1)
    assert np.array_equal(reduced[keys[0]], decode(files["large.jpg"], image))
    assert keys[1] not in reduced and rows[1]["pixel_sha256"] == decoding.pixel_sha256(old)
    assert decode_into(reduced, full, rows, tmp_path, image) == (0, 1)
