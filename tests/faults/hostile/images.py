"""Malicious and damaged images, and the function that decodes them."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from thaw.config.dataset import Image as Parameters
from thaw.data.decoding import decode


def target(path: str) -> None:
    """Decode an image in two ways and check the shape of the result."""
    with open(path, "rb") as file:
        content = file.read()
    for resampling, colour in (("bicubic", "rgb"), ("nearest", "grey")):
        pixels = decode(content, Parameters(size=32, resampling=resampling, colour=colour))
        assert pixels.shape == (32, 32, 3 if colour == "rgb" else 1) and pixels.dtype == "uint8"


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype="uint8")
    return Image.fromarray(values, "RGBA").convert(mode)


def png(
    width: int,
    height: int,
    *chunks: tuple[bytes, bytes],
    depth: int = 8,
    colour: int = 2,
    data: bytes | None = None,
) -> bytes:
    """Return a PNG whose header declares these values, whatever its data is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(100)) if data is None else data
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def zeros(count: int) -> bytes:
    """Return `count` zeros, compressed one megabyte at a time to save memory."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(2**20)) for _ in range(count >> 20)]
    return b"".join([*pieces, packer.compress(bytes(count & 0xFFFFF)), packer.flush()])


def exif(content: bytes) -> bytes:
    return encoded(noise(), "JPEG", exif=b"Exif\0\0" + content)


def corpus() -> Iterator[tuple[str, bytes, str | None]]:
    """Yield images as (description, content, expected outcome or None)."""
    yield "zero bytes", b"", "refused"
    yield "text", b"<html>404 not found</html>", "refused"
    yield "an SVG", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "refused"
    svg = b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
    yield "an SVG that reads a file", svg, "refused"
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n"
    yield "a PostScript program", eps + b"(evil) (w) file\nshowpage\n%%EOF\n", "refused"
    yield "a PDF", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%%EOF", "refused"
    yield "a zip", b"PK\3\4" + bytes(100), "refused"
    yield "a pickle", b"cos\nsystem\n(S'touch evil'\ntR.", "refused"
    yield "an XBM", b"#define w_width 8\n#define w_height 8\nstatic char w[]={0};", "refused"
    yield "an XPM", b'/* XPM */\nstatic char *x[]={"1 1 1 1","a c #000","a"};', "refused"
    for kind in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"):
        intact = encoded(noise(), kind)
        yield f"{kind}", intact, "accepted"
        for share in (0.001, 0.01, 0.1, 0.5, 0.9):
            yield f"{kind} truncated to {share}", intact[: int(len(intact) * share)], "refused"
        yield f"{kind} without its beginning", intact[4:], "refused"
        yield f"{kind} followed by text", intact + b"<?php evil(); ?>" * 100, "accepted"
    for mode in (
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGBA",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LAB",
        "I",
        "F",
        "I;16",
    ):
        picture = (
            Image.new(mode, (9, 7)) if mode in ("PA", "LAB", "I", "F", "I;16") else noise(mode)
        )
        for kind in ("PNG", "TIFF", "JPEG", "WEBP", "GIF"):
            try:
                content = encoded(picture, kind)
            except (OSError, ValueError, KeyError):
                continue  # Pillow cannot write this combination
            wide = kind == "TIFF" and mode in ("F", "I")  # PNG has 16 bits at most
            yield f"{kind} of mode {mode}", content, "refused" if wide else "accepted"
    palette = noise("P")
    yield (
        "palette with transparency",
        encoded(palette, "PNG", transparency=bytes(range(256))),
        "accepted",
    )
    yield "one transparent colour", encoded(noise(), "PNG", transparency=(1, 2, 3)), "accepted"
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        frames = [Image.new("RGB", (40, 30), (n, n, n)) for n in range(1, 60)]
        animation = encoded(noise(), kind, save_all=True, append_images=frames)
        yield f"animated {kind}", animation, "accepted"
        yield f"animated {kind}, truncated", animation[: len(animation) // 2], None
    for depth in (1, 2, 4, 8, 16, 3, 32, 255):
        for colour in (0, 2, 3, 4, 6, 5, 255):
            packed = zeros(9 * 100 * 8)
            yield (
                f"PNG of {depth} bits, colour {colour}",
                png(9, 9, depth=depth, colour=colour, data=packed),
                None,
            )
    for width, height in [(0, 0), (0, 5), (5, 0), (1, 1), (2**31 - 1, 2**31 - 1), (2**31, 1)]:
        yield f"PNG of {width} x {height}", png(width, height), None if width == 1 else "refused"
    for width, height in [(60_000, 60_000), (1, 2**31 - 1), (2**31 - 1, 1), (16_000, 16_000)]:
        yield f"PNG that declares {width} x {height}", png(width, height), "refused"
    yield "PNG bomb of 3.6 GB", png(60_000, 60_000, data=zeros(3_600_000_000 // 32)), "refused"
    yield "GIF of 65,535 x 65,535", _gif(65_535, 65_535), "refused"
    yield "GIF of 0 x 0", _gif(0, 0), "refused"
    yield "BMP of 65,535 x 65,535", _bmp(65_535, 65_535), "refused"
    yield "BMP of negative size", _bmp(-40, -30), None
    yield "BMP of the smallest size", _bmp(40, -(2**31)), "refused"
    jpeg = bytearray(encoded(noise(), "JPEG"))
    at = jpeg.find(b"\xff\xc0")
    for height, width in [(65_535, 65_535), (0, 0), (0, 40), (1, 65_535)]:
        jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
        yield f"JPEG that declares {width} x {height}", bytes(jpeg), "refused"
    yield "JPEG of 20,000 scans", _scans(20_000), "refused"
    yield "JPEG of 50 scans", _scans(50), "accepted"
    yield "a profile bomb", png(9, 9, (b"iCCP", b"p\0\0" + zeros(3 * 10**8)), data=zeros(900)), None
    yield "a text bomb", png(9, 9, (b"zTXt", b"p\0\0" + zeros(3 * 10**8)), data=zeros(900)), None
    many = [(b"tEXt", b"key\0" + b"x" * 1000)] * 20_000
    yield "20,000 texts", png(9, 9, *many, data=zeros(900)), None
    yield "a chunk longer than the file", png(9, 9)[:33] + b"\x7f\xff\xff\xffIDAT", "refused"
    for what, content in {
        "empty": b"",
        "random bytes": bytes(range(256)),
        "half a header": b"II*\0",
        "a cycle": b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0",
        "a huge count": b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\3\xff\xff\xff\xff\0\1\0\0",
        "orientation 99": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x63\0\0\0\0\0\0",
        "orientation of text": b"MM\0*\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\4evil\0\0\0\0",
    }.items():
        yield f"EXIF: {what}", exif(content), "accepted"
    for count in (0, 1, 2**16, 2**31):
        for tag in (256, 257, 258, 262, 273, 277, 278, 279, 322, 323):
            yield f"TIFF with tag {tag} = {count}", _tiff(tag, count), None
    yield "TIFF with a cycle", _cycle(), None


def _gif(width: int, height: int) -> bytes:
    content = bytearray(encoded(noise("P"), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    at = content.rfind(b",", 0, 900)
    content[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(content)


def _bmp(width: int, height: int) -> bytes:
    content = bytearray(encoded(noise(), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def _scans(count: int) -> bytes:
    """Return a progressive JPEG of 4,000 x 4,000 pixels that repeats its last scan."""
    content = encoded(Image.new("L", (4_000, 4_000)), "JPEG", progressive=True)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * count + content[-2:]


def _tiff(tag: int, value: int) -> bytes:
    """Return a TIFF in which a tag has this value."""
    content = bytearray(encoded(noise(), "TIFF"))
    start = struct.unpack_from("<I", content, 4)[0]
    for number in range(struct.unpack_from("<H", content, start)[0]):
        at = start + 2 + 12 * number
        if struct.unpack_from("<H", content, at)[0] == tag:
            struct.pack_into("<HII", content, at + 2, 4, 1, value % 2**32)
    return bytes(content)


def _cycle() -> bytes:
    content = bytearray(encoded(noise(), "TIFF"))
    start = struct.unpack_from("<I", content, 4)[0]
    end = start + 2 + 12 * struct.unpack_from("<H", content, start)[0]
    struct.pack_into("<I", content, end, start)
    return bytes(content)


def seeds() -> list[bytes]:
    """Return valid files to be mutated."""
    wide = noise(size=(70, 50))
    return [
        *(encoded(noise(), kind) for kind in ("PNG", "BMP", "WEBP", "TIFF", "JPEG")),
        encoded(noise("P"), "GIF"),
        encoded(wide, "JPEG", progressive=True, quality=30),
        encoded(noise("CMYK"), "JPEG"),
        encoded(noise("RGBA"), "WEBP", lossless=True),
        encoded(noise(), "GIF", save_all=True, append_images=[noise(), wide]),
        *(encoded(noise(), "TIFF", compression=c) for c in ("tiff_lzw", "jpeg", "tiff_deflate")),
        encoded(noise("1"), "TIFF", compression="group4"),
        encoded(noise("P"), "PNG", transparency=bytes(range(256))),
    ]
