import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image as Pillow

from thaw.config.dataset import Image
from thaw.data.decoding import decode
from thaw.data.formats import BadImage

IMAGE = Image(size=32, resampling="nearest", colour="rgb")
GREY = np.zeros((32, 32), "uint8")


def heic(picture: Pillow.Image, **options) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(picture).save(file, quality=-1, chroma=444, **options)
    return file.getvalue()


def test_heic_is_read(picture):
    pixels = picture(0, 32, 32)
    decoded = decode(heic(Pillow.fromarray(pixels)), IMAGE)
    assert np.abs(decoded.astype(int) - pixels).max() <= 4  # its colours are YCbCr


def test_heic_is_turned_upright(picture):
    upright = Pillow.fromarray(picture(0, 32, 32))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    stored = upright.transpose(Pillow.Transpose.ROTATE_90)
    decoded = decode(heic(stored, exif=exif.tobytes()), IMAGE)
    assert np.abs(decoded.astype(int) - np.asarray(upright)).max() <= 4


def test_damaged_heic_is_refused_by_its_name(picture):
    fake = struct.pack(">I", 24) + b"ftypheic" + b"\0" * 4 + b"mif1heic" + b"\1" * 200
    with pytest.raises(BadImage, match="HEIC that is damaged or incomplete"):
        decode(fake, IMAGE)
    with pytest.raises(BadImage, match="end of file"):
        decode(heic(Pillow.fromarray(picture(0, 32, 32)))[:-80], IMAGE)


@pytest.mark.parametrize("kind", ["PPM", "AVIF"])
def test_portable_pixmaps_and_avif_are_read(picture, encoded, kind):
    pixels = picture(0, 32, 32)
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
    decoded = decode(encoded(pixels, kind, **options), IMAGE)
    assert np.abs(decoded.astype(int) - pixels).max() <= (0 if kind == "PPM" else 4)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("JPEG2000", "JPEG 2000"), ("ICO", "ICO"), ("TGA", "TGA"), ("PCX", "PCX"), ("PDF", "PDF")],
)
def test_other_formats_are_refused_by_their_real_name(encoded, kind, name):
    with pytest.raises(BadImage, match=f"^{name}, which Thaw does not read: convert to PNG$"):
        decode(encoded(Pillow.fromarray(GREY).convert("RGB"), kind), IMAGE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0" * 128 + b"DICM" + b"\2\0", "DICOM, which Thaw does not read: convert to PNG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG, which Thaw does not read"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera raw file .CR2."),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer.*: run `git lfs pull`",
        ),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page, not an image"),
        (b"\xff\xd8\xff", "JPEG that is damaged or incomplete"),
        (b"II*\0\x08\0\0\0", "TIFF that is damaged or incomplete"),
        (b"hello", "in no format that Thaw reads"),
    ],
)
def test_content_is_named_by_its_first_bytes(content, reason):
    with pytest.raises(BadImage, match=reason):
        decode(content, IMAGE)


def test_tiffs_that_are_not_read_are_described(tiff, capfd):
    for content, reason in (
        (tiff(np.stack([GREY] * 13, -1)), "TIFF with 13 bands, of which Thaw reads at most 4: "),
        (tiff(np.stack([GREY] * 5, -1), 2), "TIFF with 5 bands"),
        (tiff(np.zeros((8, 8, 3), "f4"), 2), "TIFF with 3 bands of 32-bit floats .RGB., which"),
        (tiff(np.zeros((8, 8, 3), "u2"), 8), "3 bands of 16-bit unsigned integers .CIELab."),
        (tiff(GREY, tags={50706: 1}), "a camera raw file .DNG, NEF or similar."),
    ):
        with pytest.raises(BadImage, match=reason):
            decode(content, IMAGE)
    assert capfd.readouterr().err == ""
