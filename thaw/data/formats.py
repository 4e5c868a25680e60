"""Image formats by the suffix of a file name and by the first bytes of a file."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import TiffImagePlugin

# Formats that thaw.data.decoding reads
READ = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff",
    ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
)  # fmt: skip
# Formats that it does not read. They count as images, since an error that names the format is
# better than a class that lacks them.
REFUSED = (
    ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".dcm", ".dicom", ".psd", ".xcf", ".svg", ".tga",
    ".exr", ".pcx", ".fits", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2",
)  # fmt: skip
IMAGES = READ + REFUSED

# First bytes of formats that are not read: offset, bytes, name. More specific ones come first.
SIGNATURES = (
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (128, b"DICM", "DICOM"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"\0\0\2\0", "a Windows cursor"),
    (0, b"icns", "an Apple icon"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"P7\n", "PAM"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DDS"),
    (0, b"\x0a\x05\x01", "PCX"),
    (0, b"SIMPLE  =", "FITS"),
    (344, b"n+1\0", "NIfTI"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (4, b"ftypcrx ", "a camera raw file (CR3)"),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file (RAF)"),
    (0, b"IIU\0", "a camera raw file (RW2)"),
    (0, b"IIRO", "a camera raw file (ORF)"),
    (0, b"IIRS", "a camera raw file (ORF)"),
    (0, b"MMOR", "a camera raw file (ORF)"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (0, b"%!PS", "PostScript"),
    (0, b"%PDF", "PDF"),
    (0, b"AT&TFORM", "DjVu"),
    (4, b"ftyp", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
)
ARCHIVES = ((0, b"PK\3\4"), (0, b"\x1f\x8b"), (0, b"7z\xbc\xaf"), (0, b"Rar!"), (257, b"ustar"))
# First bytes of formats that are read, to name files of which not even the header is complete
READ_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (4, b"ftypavi", "AVIF"),
)
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
SAMPLE_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floats"}
PHOTOMETRIC = {
    0: "grey, white is zero",
    1: "grey, black is zero",
    2: "RGB",
    3: "palette",
    4: "transparency mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    32803: "colour filter array",
    34892: "linear raw",
}
CMYK = 5  # photometric interpretation, of which further bands are alpha channels
MAX_BANDS = 4


class BadImage(Exception):
    """Raised for content that is not a complete, readable image. Its text is the reason."""


def is_heic(content: bytes) -> bool:
    """Return whether a file is HEIC by the brands that its first box lists."""
    length = int.from_bytes(content[:4], "big")
    brands = {content[n : n + 4] for n in (8, *range(16, min(length, 256), 4))}
    return content[4:8] == b"ftyp" and bool(brands & HEIC_BRANDS)


def why_unread(content: bytes) -> str:
    """Return why a file that no reader accepts is not read: its real format and what to do.

    Example:
        >>> why_unread(b"8BPS")
        'a Photoshop document, which Thaw does not read: convert to PNG'
    """
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the image: run `git lfs pull`"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not an image"
    if start.startswith((b"<?xml", b"<svg", b"<!--", b"<!doctype svg")) and b"<svg" in start:
        return "SVG, which Thaw does not read: convert to PNG"
    if content[8:11] == b"CR\2":
        return "a camera raw file (CR2), which Thaw does not read: convert to PNG"
    if content.endswith(b"TRUEVISION-XFILE.\0"):
        return "TGA, which Thaw does not read: convert to PNG"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return why_tiff_unread(read_tiff_tags(content)) or "TIFF that is damaged or incomplete"
    if is_heic(content):
        return "HEIC that is damaged or incomplete"
    if any(content[offset:].startswith(signature) for offset, signature in ARCHIVES):
        return "an archive, not an image: unpack it"
    for offset, signature, name in READ_SIGNATURES:
        if content[offset:].startswith(signature):
            return f"{name} that is damaged or incomplete"
    for offset, signature, name in SIGNATURES:
        if content[offset:].startswith(signature):
            return f"{name}, which Thaw does not read: convert to PNG"
    return "in no format that Thaw reads: convert to PNG or JPEG"


def read_tiff_tags(content: bytes) -> Mapping[int, Any]:
    """Return the tags of the first image in a TIFF file, by number; none if it is damaged."""
    try:
        file = io.BytesIO(content)
        header = file.read(8)
        if header[2:3] == b"+" or header[3:4] == b"+":  # BigTIFF
            header += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        return dict(tags)
    except Exception:  # damaged files make Pillow raise almost any type
        return {}


def why_tiff_unread(tags: Mapping[int, Any], readable: bool = False) -> str | None:
    """Return why a TIFF is not read, or None if it is, or if its tags are damaged.

    Args:
        tags: As `read_tiff_tags` returns them.
        readable: Whether Pillow reads it. Of camera raw files it reads a thumbnail, of more than
            four bands the first three.
    """
    if not tags:
        return None
    bands, bits, photometric = tags.get(277, 1), tags.get(258, (1,)), tags.get(262, 0)
    if 50706 in tags or (330 in tags and tags.get(254) == 1):
        return "a camera raw file (DNG, NEF or similar), which Thaw does not read: convert to PNG"
    if bands > MAX_BANDS and photometric != CMYK:
        return (
            f"TIFF with {bands} bands, of which Thaw reads at most {MAX_BANDS}: save three of them "
            f"as RGB, or one as grey"
        )
    if readable:
        return None
    kind = SAMPLE_FORMATS.get(tags.get(339, (1,))[0], "values of unknown type")
    colours = PHOTOMETRIC.get(photometric, f"photometric interpretation {photometric}")
    return (
        f"TIFF with {bands} band{'s' * (bands > 1)} of {bits[0]}-bit {kind} ({colours}), which "
        f"Thaw does not read: convert to PNG or to another kind of TIFF"
    )
