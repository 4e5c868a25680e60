"""Unpacking an archive that nobody vouches for."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from thaw.errors import UserError, bullet_list, printable

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_EXPANSION = 200
"""Times its own size that an archive may unpack to, once that is over LEAST_REFUSED."""
LEAST_REFUSED = 10**9
"""Bytes."""
MOST_ENTRIES = 20_000_000
MOST_NAME = 1000
"""Letters of an entry's path."""
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def is_archive(path: Path) -> bool:
    """Whether its name is one of an archive that `unpack` reads."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, into: Path) -> None:
    """Write the archive's regular files below `into`.

    Raises:
        UserError: it is damaged, or an entry would be written elsewhere, is a link or a device, or
            the whole is too large for the disk or out of all proportion, or a name is there
            twice. Entries are judged before the first is written.
    """
    try:
        with (
            zipfile.ZipFile(archive)
            if zipfile.is_zipfile(archive)
            else tarfile.open(archive) as opened
        ):
            most = max(LEAST_REFUSED, MOST_EXPANSION * archive.stat().st_size)
            is_zip = isinstance(opened, zipfile.ZipFile)
            found = _zip(opened) if is_zip else _tar(opened, most)
            entries = list(_limited(archive, into, found, most))
            _judge(archive, entries)
            for name, _, kind, reader in entries:
                if kind == "file":
                    target = into / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with reader() as source, open(target, "wb") as file:
                        shutil.copyfileobj(source, file)
                elif kind == "folder":
                    (into / name).mkdir(parents=True, exist_ok=True)
    except UserError:
        raise
    except Exception as error:  # Python's readers raise nearly everything on damaged archives
        name = f" ({str(error.filename)[-60:]!r})" if getattr(error, "filename", None) else ""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{archive} cannot be unpacked: {printable(reason)[:300]}{name}") from None


def _limited(archive: Path, into: Path, entries: Iterator[tuple], most: int) -> Iterator[tuple]:
    """The entries, until they come to more than anybody means: a bomb is not even listed."""
    total, free = 0, shutil.disk_usage(into).free
    for count, entry in enumerate(entries, start=1):
        total += entry[1]
        if count > MOST_ENTRIES:
            raise UserError(
                f"{archive} is refused: it has more than {MOST_ENTRIES:,} entries, expected at "
                f"most so many."
            )
        if total > free:
            raise UserError(
                f"{archive} unpacks to {total / 1e9:.1f} GB and {free / 1e9:.1f} GB are free."
            )
        if total > most:
            raise UserError(
                f"{archive} is refused: {archive.stat().st_size} bytes would unpack to {total}, "
                f"over {MOST_EXPANSION} times as many. If that is right, unpack it yourself and "
                f"give the folder."
            )
        yield entry


def _zip(opened: zipfile.ZipFile) -> Iterator[tuple]:
    for entry in opened.infolist():
        mode = entry.external_attr >> 16 & 0o170000
        kind = "folder" if entry.is_dir() else "file" if mode in (0, 0o100000) else "special"
        yield entry.filename, entry.file_size, kind, lambda e=entry: opened.open(e)


def _tar(opened: tarfile.TarFile, most: int) -> Iterator[tuple]:
    for entry in opened:
        kind = "folder" if entry.isdir() else "file" if entry.isreg() else "special"
        yield entry.name, entry.size, kind, lambda e=entry: opened.extractfile(e)
    # Python takes a damaged header for the end; a whole archive ends in zeros, and a .gz in a check
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(512) != bytes(512):
        raise tarfile.ReadError("it is damaged or cut short")
    while came := len(opened.fileobj.read(1 << 20)):
        most -= came
        if most < 0:
            raise tarfile.ReadError("behind its end comes more than it may unpack to")


def _judge(archive: Path, entries: list[tuple]) -> None:
    bad, files = [], set()
    for name, size, kind, _ in entries:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name.split("/")[0] or "\0" in name:
            bad.append(f"{name[:MOST_NAME]!r} would be written outside its folder")
        elif kind == "special":
            bad.append(f"{name!r} is a link or a device")
        elif size < 0 or len(name) > MOST_NAME:
            bad.append(f"{name[:60]!r}... has a name of {len(name)} letters and {size} bytes")
        elif kind == "file" and str(parts) in files:
            bad.append(f"{name!r} is there twice")
        files.add(str(parts) if kind == "file" else None)
    if bad:
        raise UserError(f"{archive} is refused, {len(bad)} entries are unsafe:\n{bullet_list(bad)}")
