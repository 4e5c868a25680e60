"""Unpacking an archive that nobody vouches for."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from stages.command import Refusal, naming

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_EXPANSION = 200
"""Times its own size that an archive may unpack to, once that is over 1 GB."""
MOST_ENTRIES = 20_000_000
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def is_archive(path: Path) -> bool:
    """Whether its name is one of an archive that `unpack` reads."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, into: Path) -> None:
    """Write the archive's regular files below `into`.

    Raises:
        Refusal: it is damaged, or an entry would be written elsewhere, is a link or a device, or
            the whole is too large for the disk or out of all proportion. Entries are judged
            before the first is written.
    """
    try:
        with (
            zipfile.ZipFile(archive)
            if zipfile.is_zipfile(archive)
            else tarfile.open(archive) as opened
        ):
            entries = list(_zip(opened) if isinstance(opened, zipfile.ZipFile) else _tar(opened))
            _judge(archive, entries, into)
            for name, _, kind, reader in entries:
                if kind == "file":
                    target = into / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with reader() as source, open(target, "wb") as file:
                        shutil.copyfileobj(source, file)
                elif kind == "folder":
                    (into / name).mkdir(parents=True, exist_ok=True)
    except DAMAGE as error:
        raise Refusal(f"{archive} cannot be unpacked: {error}") from None


def _zip(opened: zipfile.ZipFile) -> Iterator[tuple]:
    for entry in opened.infolist():
        mode = entry.external_attr >> 16 & 0o170000
        kind = "folder" if entry.is_dir() else "file" if mode in (0, 0o100000) else "special"
        yield entry.filename, entry.file_size, kind, lambda e=entry: opened.open(e)


def _tar(opened: tarfile.TarFile) -> Iterator[tuple]:
    for entry in opened:
        kind = "folder" if entry.isdir() else "file" if entry.isreg() else "special"
        yield entry.name, entry.size, kind, lambda e=entry: opened.extractfile(e)
    # Python takes a damaged header for the end; a whole archive ends in zeros, and a .gz in a check
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(512) != bytes(512):
        raise tarfile.ReadError("it is damaged or cut short")
    while opened.fileobj.read(1 << 20):
        pass


def _judge(archive: Path, entries: list[tuple], into: Path) -> None:
    bad = []
    for name, _, kind, _ in entries:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name.split("/")[0] or "\0" in name:
            bad.append(f"{name!r} would be written outside its folder")
        elif kind == "special":
            bad.append(f"{name!r} is a link or a device")
    if bad:
        raise Refusal(f"{archive} is refused, {len(bad)} entries are unsafe:\n{naming(bad)}")
    total, own = sum(entry[1] for entry in entries), archive.stat().st_size
    free = shutil.disk_usage(into).free
    if len(entries) > MOST_ENTRIES:
        raise Refusal(
            f"{archive} is refused: {len(entries)} entries, expected {MOST_ENTRIES} at most."
        )
    if total > free:
        raise Refusal(
            f"{archive} unpacks to {total / 1e9:.1f} GB and {free / 1e9:.1f} GB are free."
        )
    if total > max(1e9, MOST_EXPANSION * own):
        raise Refusal(
            f"{archive} is refused: {own} bytes would unpack to {total}, over "
            f"{MOST_EXPANSION} times as many. If that is right, unpack it yourself and give the "
            f"folder."
        )
