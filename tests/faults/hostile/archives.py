"""Malicious and damaged archives, and the function that reads them."""

import gzip
import io
import lzma
import random
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thaw.config.dataset import FolderSource
from thaw.data.collecting import collect_archive

GOOD = {
    f"{label}/{number}.jpg": b"picture" * 50 for label in ("cats", "dogs") for number in range(3)
}


def target(archive: str) -> None:
    """Collect the images of an archive into the folder `into`."""
    into = Path("into")
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    collect_archive(Path(archive), into, archive, FolderSource(kind="folder"))


def zipped(files: Any, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of files, a dictionary or pairs of (name or ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Any, mode: str = "w", kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar archive of files, a dictionary or pairs of (name or TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=kind) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            entry = tarfile.TarInfo(name) if isinstance(name, str) else name
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def special(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, to
    return entry


def zip_special(name: str, kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return entry


OUTSIDE = [  # names that lead out of the target folder, or look as if they did
    "../evil.jpg", "cats/../../evil.jpg", "/tmp/evil.jpg", "//evil.jpg", "..\\evil.jpg",
    "\\evil.jpg", "C:\\evil.jpg", "C:/evil.jpg", "cats/..\\..\\evil.jpg", "./../evil.jpg",
    "cats/./../../evil.jpg", "....//../evil.jpg", "\\\\server\\evil.jpg", "..", "cats/..",
    "/", "cats:stream/../../evil.jpg",
]  # fmt: skip
ODD = {
    "non-ascii": "katzen-ü/ñ.jpg",
    "decomposed": "e\u0301/1.jpg",
    "right to left": "cats/\u202egpj.exe.jpg",
    "emoji": "\U0001f408/1.jpg",
    "line feed": "cats/a\nb.jpg",
    "escape": "cats/\x1b[2Ja.jpg",
    "bell": "ca\x07ts/1.jpg",
    "delete": "cats/\x7f.jpg",
    "blank": "cats/ .jpg",
    "dots": "cats/....jpg",
    "quote": "cats/'\"`$(touch evil).jpg",
    "comma": 'cats/a,b"c.jpg',
    "percent": "cats/%2e%2e%2fevil.jpg",
    "dash": "-rf/1.jpg",
    "long": "cats/" + "x" * 300 + ".jpg",
    "long folder": "y" * 300 + "/1.jpg",
    "deep": "d/" * 200 + "1.jpg",
    "very deep": "d/" * 5000 + "1.jpg",
    "longer than a path": "/".join(["z" * 200] * 30) + "/1.jpg",
    "empty part": "cats//1.jpg",
    "folder named as a picture": "cats/1.jpg/2.jpg",
    "reserved": "cats/CON.jpg",
    "nul byte": "cats/a\0b.jpg",
}


def corpus() -> Iterator[tuple[str, str, bytes, str | None]]:
    """Yield archives as (description, suffix, content, expected outcome or None)."""
    for suffix, pack in ((".zip", zipped), (".tar", tarred), (".tar.gz", _gzipped)):
        yield "good", suffix, pack(GOOD), "accepted"
        yield "empty", suffix, pack({}), "refused"
        yield "zero bytes", suffix, b"", "refused"
        yield "text", suffix, b"<html>404 not found</html>", "refused"
        yield "zeros", suffix, bytes(100_000), "refused"
        yield "no pictures", suffix, pack({"a/readme.txt": b"x"}), "refused"
        yield "one class", suffix, pack({"a/1.jpg": b"x"}), "refused"
        intact = pack(GOOD)
        for share in (0.01, 0.3, 0.5, 0.9, 0.99):
            content = intact.rstrip(b"\0") if suffix == ".tar" else intact
            yield f"truncated to {share}", suffix, content[: int(len(content) * share)], "refused"
        for name in OUTSIDE:
            yield f"outside {name!r}", suffix, pack([*GOOD.items(), (name, b"evil")]), "refused"
        for what, name in ODD.items():
            if suffix != ".zip" or "\0" not in name:
                yield f"name {what}", suffix, pack([*GOOD.items(), (name, b"odd")]), None
        duplicate = [*GOOD.items(), ("cats/0.jpg", b"another")]
        yield "the same name twice", suffix, pack(duplicate), "refused"
        yield "names that differ in case", suffix, pack([*GOOD.items(), ("cats/0.JPG", b"x")]), None
        yield (
            "file in the place of a folder",
            suffix,
            pack([*GOOD.items(), ("cats", b"x")]),
            "refused",
        )
        if suffix != ".tar":
            yield "many entries", suffix, pack(_many(100_000)), "accepted"
        inner = zipped({"../evil": b""}, zipfile.ZIP_DEFLATED)
        nested = (
            None if suffix == ".tar" else "accepted"
        )  # a tar that ends in a zip is read as a zip
        yield "nested", suffix, pack({**GOOD, "cats/inner.zip": inner}), nested
        bomb = {**GOOD, "cats/bomb.jpg": bytes(1_100_000_000)} if suffix != ".tar" else GOOD
        yield "bomb", suffix, pack(bomb), "accepted" if suffix == ".tar" else "refused"
    yield from _zips()
    yield from _tars()


def _many(count: int) -> list[tuple[str, bytes]]:
    return [(f"{'ab'[n % 2]}/{n}.jpg", b"x") for n in range(count)]


def _gzipped(files: Any) -> bytes:
    return tarred(files, "w:gz")


def _zips() -> Iterator[tuple[str, str, bytes, str | None]]:
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
        entry = zip_special("cats/special.jpg", kind)
        yield f"mode {kind:o}", ".zip", zipped([*GOOD.items(), (entry, "/etc/passwd")]), "refused"
    link = zip_special("cats/out", stat.S_IFLNK)
    through = [(link, "../.."), ("cats/out/evil.jpg", b"evil"), *GOOD.items()]
    yield "file behind a link", ".zip", zipped(through), "refused"
    encrypted = bytearray(zipped(GOOD))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = encrypted.find(signature)
        while at >= 0:
            encrypted[at + flags] |= 1
            at = encrypted.find(signature, at + 4)
    yield "encrypted", ".zip", bytes(encrypted), "refused"
    for method in (
        1,
        6,
        9,
        12,
        14,
        93,
        95,
        99,
        0xFFFF,
    ):  # damaged bzip2 and LZMA, and unknown methods
        other = bytearray(zipped(GOOD))
        for signature, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
            at = other.find(signature)
            while at >= 0:
                struct.pack_into("<H", other, at + place, method)
                at = other.find(signature, at + 4)
        yield f"method {method}", ".zip", bytes(other), "refused"
    for declared in (0, 1, 10**9, 0xFFFFFFFE, 0xFFFFFFFF):
        wrong = bytearray(zipped(GOOD))
        at = wrong.find(b"PK\1\2")
        struct.pack_into("<I", wrong, at + 24, declared)
        yield f"declares {declared} bytes", ".zip", bytes(wrong), "refused"
    small = bytearray(zipped({**GOOD, "cats/bomb.jpg": bytes(300_000_000)}))
    at = small.rfind(b"PK\1\2", 0, small.rfind(b"PK\5\6"))
    struct.pack_into("<I", small, at + 24, 1000)
    yield "bomb that declares a small size", ".zip", bytes(small), "refused"
    overlapping = bytearray(zipped(GOOD))
    first = overlapping.find(b"PK\1\2")
    second = overlapping.find(b"PK\1\2", first + 4)
    overlapping[second + 42 : second + 46] = overlapping[first + 42 : first + 46]
    yield "overlapping entries", ".zip", bytes(overlapping), "refused"
    yield "preceded by another file", ".zip", b"\x89PNG" + bytes(500) + zipped(GOOD), None
    yield "followed by another file", ".zip", zipped(GOOD) + b"x" * 70_000, None
    comment = bytearray(zipped(GOOD))
    struct.pack_into("<H", comment, len(comment) - 2, 0xFFFF)
    yield "missing comment", ".zip", bytes(comment), None
    count = bytearray(zipped(GOOD))
    struct.pack_into("<HH", count, len(count) - 14, 0xFFFF, 0xFFFF)
    yield "wrong number of entries", ".zip", bytes(count), None
    encoded = zipped({**GOOD, "cats/caXe.jpg": b"x"}).replace(b"caXe", b"ca\x82e")
    yield "name in code page 437", ".zip", encoded, "accepted"
    utf8 = bytearray(zipped({**GOOD, "cats/ü.jpg": b"x"}).replace("ü".encode(), b"\xff\xfe"))
    yield "name falsely marked as UTF-8", ".zip", bytes(utf8), "refused"
    zero = zipped({**GOOD, "cats/aXb.jpg": b"x"}).replace(b"aXb", b"a\0b")
    yield "NUL in a name", ".zip", zero, None
    yield "tar named .zip", ".zip", tarred(GOOD), "accepted"
    yield "many folders", ".zip", zipped({f"{n}/1.jpg": b"x" for n in range(20_000)}), "accepted"
    yield "nested bombs", ".zip", zipped({**GOOD, "cats/b.zip": _nested(4)}), "accepted"


def _nested(depth: int) -> bytes:
    archive = zipped({"0": bytes(10_000_000)})
    for _ in range(depth):
        archive = zipped({str(n): archive for n in range(10)})
    return archive


def _tars() -> Iterator[tuple[str, str, bytes, str | None]]:
    for kind, name in ((".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz")):
        for what, entry in {
            "a symbolic link": special("cats/link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            "a link out": special("cats/link.jpg", tarfile.SYMTYPE, "../../../secret.txt"),
            "a hard link": special("cats/link.jpg", tarfile.LNKTYPE, "../secret.txt"),
            "a hard link within": special("cats/link.jpg", tarfile.LNKTYPE, "cats/0.jpg"),
            "a character device": special("cats/null.jpg", tarfile.CHRTYPE),
            "a block device": special("cats/disk.jpg", tarfile.BLKTYPE),
            "a pipe": special("cats/pipe.jpg", tarfile.FIFOTYPE),
            "an unknown type": special("cats/what.jpg", b"Z"),
            "a continuous file": special("cats/cont.jpg", tarfile.CONTTYPE),
        }.items():
            content = tarred([*GOOD.items(), (entry, b"")], name)
            yield what, kind, content, None if "type" in what or "cont" in what else "refused"
        link = special("cats/out", tarfile.SYMTYPE, "../..")
        through = [(link, b""), ("cats/out/evil.jpg", b"evil"), *GOOD.items()]
        yield "file behind a link", kind, tarred(through, name), "refused"
        modes = tarfile.TarInfo("cats/suid.jpg")
        modes.mode, modes.uid, modes.mtime = 0o6777, 0, -1
        yield (
            "set-uid and a negative time",
            kind,
            tarred([*GOOD.items(), (modes, b"")], name),
            None,
        )
    sparse = special("cats/sparse.jpg", tarfile.GNUTYPE_SPARSE)
    yield "sparse", ".tar", tarred([*GOOD.items(), (sparse, b"")], kind=tarfile.GNU_FORMAT), None
    huge = tarfile.TarInfo("cats/huge.jpg")
    huge.size = 2**60
    huge = huge.tobuf(tarfile.GNU_FORMAT)
    yield "entry of an exabyte", ".tar", huge + tarred(GOOD), "refused"
    yield "negative size", ".tar", _size(b"-0000000001\0"), "refused"
    yield "size that is not a number", ".tar", _size(b"zzzzzzzzzzz\0"), "refused"
    yield "size in base 256", ".tar", _size(b"\x80" + b"\xff" * 11), "refused"
    for label, text in {
        "path": b"30 path=../../../evil.jpg\n",
        "huge length": b"99999999999999 path=x\n",
        "zero length": b"0 path=x\n",
        "no number": b"xx path=x\n",
        "size": b"28 size=99999999999999999\n",
        "negative size": b"12 size=-999\n",
        "charset": b"26 hdrcharset=BINARY\n" + b"18 path=\xff\xfe.jpg\n",
        "sparse": b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n",
    }.items():
        extended = tarfile.TarInfo("PaxHeader")
        extended.type = tarfile.XHDTYPE
        content = tarred(
            [(extended, text), ("cats/a.jpg", b"x"), *GOOD.items()], kind=tarfile.GNU_FORMAT
        )
        yield f"extended header: {label}", ".tar", content, None
    chain = [(special("x", tarfile.GNUTYPE_LONGNAME), b"x" * 10)] * 3000
    yield (
        "chain of long names",
        ".tar",
        tarred([*chain, *GOOD.items()], kind=tarfile.GNU_FORMAT),
        None,
    )
    bomb = io.BytesIO()
    with gzip.open(bomb, "wb") as file:
        entry = tarfile.TarInfo("cats/bomb.jpg")
        entry.size = 3 * 2**30
        file.write(entry.tobuf())
        for _ in range(3 * 32):
            file.write(bytes(2**25))
    yield "streamed bomb", ".tar.gz", bomb.getvalue(), "refused"
    double = gzip.compress(gzip.compress(tarred(GOOD)))
    yield "gzipped twice", ".tar.gz", double, "refused"
    yield "gzipped zeros", ".tar.gz", gzip.compress(bytes(10**9)), "refused"
    for name, mode in ((".tar.xz", "w:xz"), (".tar.bz2", "w:bz2")):
        intact = tarred(GOOD, mode)
        yield "good", name, intact, "accepted"
        yield "truncated", name, intact[: len(intact) // 2], "refused"
        yield "named .tar.gz", ".tar.gz", intact, None
        for outside in OUTSIDE:
            content = tarred([*GOOD.items(), (outside, b"evil")], mode)
            yield f"outside {outside!r}", name, content, "refused"
    yield "compressed zeros", ".tar.xz", lzma.compress(bytes(10**9), preset=0), "refused"
    yield "wrong checksum", ".tar.gz", _gzipped(GOOD)[:-8] + bytes(8), "refused"
    yield "zip named .tar.gz", ".tar.gz", zipped(GOOD), "accepted"


def _size(field: bytes) -> bytes:
    """Return a tar whose first entry has this size field and a valid checksum."""
    head = bytearray(tarred(GOOD))
    start = 0 if head[156:157] != b"x" else 1024
    block = head[start : start + 512]
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    head[start : start + 512] = block
    return bytes(head)


def seeds(chance: random.Random) -> dict[str, list[bytes]]:
    """Return valid archives by suffix, to be mutated."""
    noise = {f"{label}/{n}.jpg": chance.randbytes(200) for label in "ab" for n in range(4)}
    return {
        ".zip": [zipped(noise), zipped(noise, zipfile.ZIP_STORED), zipped(noise, zipfile.ZIP_BZIP2),
                 zipped(noise, zipfile.ZIP_LZMA)],
        ".tar": [tarred(noise), tarred(noise, kind=tarfile.GNU_FORMAT)],
        ".tar.gz": [_gzipped(noise)],
    }  # fmt: skip
