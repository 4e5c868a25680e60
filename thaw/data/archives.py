"""Unpack archives from untrusted sources."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from thaw.errors import UserError, bullet_list, printable

SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz",
)  # fmt: skip
MAX_EXPANSION = 200  # unpacked bytes per byte of the archive; images compress far less
ALWAYS_ALLOWED = 10**9  # unpacked bytes that are accepted at any expansion
MAX_ENTRIES = 20_000_000  # more than any dataset has; bounds the memory that the listing takes
MAX_NAME = 1000  # characters of an entry's path
# What Python's archive readers raise on damaged files
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)

ZIP_UTF8 = 0x800  # flag of an entry whose name is declared as UTF-8

Entry = tuple[str, int, str, Callable[[], Any]]  # path, bytes, file/folder/special, opener


def is_archive(path: Path) -> bool:
    """Return whether the file name ends in a suffix that `unpack` supports."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, into: Path, encoding: str | None = None) -> None:
    """Write the regular files of an archive below the folder `into`.

    All entries are checked before the first one is written. Backslashes in their names, which some
    tools on Windows write, separate folders.

    Args:
        archive: The archive.
        into: The folder.
        encoding: Of names that the archive does not declare as UTF-8. None is UTF-8, and cp437 for
            names in a zip archive that are not valid UTF-8.

    Raises:
        UserError: The archive is damaged, exceeds the free disk space or the limits on expansion
            and entries, contains a link or a device, writes outside `into`, or contains a path
            twice.
    """
    try:
        with (
            zipfile.ZipFile(archive, metadata_encoding=encoding)
            if zipfile.is_zipfile(archive)
            else tarfile.open(archive, encoding=encoding or "utf-8") as opened
        ):
            max_bytes = max(ALWAYS_ALLOWED, MAX_EXPANSION * archive.stat().st_size)
            listing = (
                _zip_entries(opened, encoding)
                if isinstance(opened, zipfile.ZipFile)
                else _tar_entries(opened, max_bytes)
            )
            entries = list(_within_limits(archive, into, listing, max_bytes))
            _reject_unsafe(archive, entries)
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
    except Exception as error:  # damaged archives make Python's readers raise almost any type
        name = f" ({str(place)[-60:]!r})" if (place := getattr(error, "filename", None)) else ""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{archive} cannot be unpacked: {printable(reason)[:300]}{name}") from None


def _within_limits(
    archive: Path, into: Path, entries: Iterator[Entry], max_bytes: int
) -> Iterator[Entry]:
    """Yield the entries while their totals are acceptable, so that a bomb is never listed."""
    total, free = 0, shutil.disk_usage(into).free
    for count, entry in enumerate(entries, start=1):
        total += entry[1]
        if count > MAX_ENTRIES:
            raise UserError(f"{archive} has more entries than the {MAX_ENTRIES:,} allowed.")
        if total > free:
            raise UserError(
                f"{archive} unpacks to {total / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are "
                f"free. Free some disk space."
            )
        if total > max_bytes:
            raise UserError(
                f"{archive} has {archive.stat().st_size} bytes and would unpack to {total}, "
                f"over {MAX_EXPANSION} times as many. If this is intended, unpack it yourself and "
                f"pass the folder."
            )
        yield entry


def _zip_entries(opened: zipfile.ZipFile, encoding: str | None) -> Iterator[Entry]:
    names = [e.filename for e in opened.infolist() if not e.flag_bits & ZIP_UTF8]
    names = [name for name in names if not name.isascii()]
    guessed = _guess_encoding(names) if names and not encoding else "cp437"
    for entry in opened.infolist():
        mode = entry.external_attr >> 16 & 0o170000
        name = entry.filename
        if guessed != "cp437" and not entry.flag_bits & ZIP_UTF8:
            name = name.encode("cp437").decode(guessed)
        name = name.replace("\\", "/")
        regular = "file" if mode in (0, stat.S_IFREG) else "special"
        kind = "folder" if name.endswith("/") or mode == stat.S_IFDIR else regular
        yield name, entry.file_size, kind, partial(opened.open, entry)


def _guess_encoding(names: list[str]) -> str:
    """Return utf-8, which macOS writes without saying so, or cp437, and print which.

    Args:
        names: As decoded by zipfile, which takes them for cp437.
    """
    encoding = "utf-8"
    try:
        for name in names:
            name.encode("cp437").decode(encoding)
    except UnicodeError:
        encoding = "cp437"
    example = printable(names[0].encode("cp437").decode(encoding))
    print(
        f"{len(names):,} names in the archive do not declare their encoding and are read as "
        f"{encoding}, such as {example}. If this is wrong, set dataset.source.zip_encoding."
    )
    return encoding


def _tar_entries(opened: tarfile.TarFile, max_bytes: int) -> Iterator[Entry]:
    for entry in opened:
        kind = "folder" if entry.isdir() else "file" if entry.isreg() else "special"
        name = entry.name.replace("\\", "/")
        yield name, entry.size, kind, partial(opened.extractfile, entry)
    # Python takes a damaged header for the end of the archive. A complete archive ends in zeros,
    # and reading a .gz to its end verifies its checksum.
    stream: IO[bytes] = opened.fileobj  # type: ignore[assignment]
    stream.seek(opened.offset)
    if stream.read(512) != bytes(512):
        raise tarfile.ReadError("it is damaged or truncated")
    while count := len(stream.read(1 << 20)):
        max_bytes -= count
        if max_bytes < 0:
            raise tarfile.ReadError("the data after its end marker exceeds the allowed size")


def _reject_unsafe(archive: Path, entries: list[Entry]) -> None:
    bad, files = [], set()
    for name, size, kind, _ in entries:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name.split("/")[0] or "\0" in name:
            bad.append(f"{name[:MAX_NAME]!r} would be written outside the target folder")
        elif kind == "special":
            bad.append(f"{name!r} is a link or a device")
        elif size < 0 or len(name) > MAX_NAME:
            bad.append(f"{name[:60]!r}... has a path of {len(name)} characters and {size} bytes")
        elif kind == "file" and str(path) in files:
            bad.append(f"{name!r} occurs twice")
        files.add(str(path) if kind == "file" else None)
    if bad:
        raise UserError(
            f"{archive} has {len(bad)} unsafe entries and is not unpacked:\n{bullet_list(bad)}"
        )
