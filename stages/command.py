"""How a stage starts, refuses and leaves its files: whole or not at all."""

import contextlib
import errno
import mmap
import os
import re
import shutil
import sys
import unicodedata
import uuid
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
SHORT = r"\d+ requested and \d+ written"
"""All that NumPy says of a full disk."""
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
BLOCKED = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}


class Refusal(Exception):
    """Something the user gave cannot be used. Its text is the whole message the user sees:
    what was given, what was expected and what to do."""


def naming(offenders: list[str], most: int = 20) -> str:
    """The offenders as an indented list: the first `most`, then how many more."""
    lines = [f"  {offender}" for offender in offenders[:most]]
    if len(offenders) > most:
        lines.append(f"  ... and {len(offenders) - most} more")
    return "\n".join(lines)


def plain(text: str) -> str:
    """As it is, but for what a terminal would obey or could not show, as names of files may hold:
    each such character is a question mark."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "?" for c in text)


_kept: mmap.mmap | None = None


def watched() -> None:
    """From now on what `note_kept` is told is seen by a process that this one forks, and back."""
    global _kept
    _kept = mmap.mmap(-1, 256)


def note_kept(what: str) -> None:
    """Note what a run that ended now would go on from."""
    if _kept is not None:
        _kept[:] = what.encode()[:255].ljust(256, b"\0")


def going_on() -> str:
    """What a stage kept and what to do, in a line; nothing of what is no stage."""
    if _kept is None:
        return ""
    what = _kept[:].rstrip(b"\0").decode(errors="ignore")
    return f"Kept: {what or 'what was finished'}. The same command goes on from there."


def ends(interrupted: str = ""):
    """An excepthook by which a refusal, Ctrl-C, a full disk or too little memory, wherever it
    comes, ends in one message and a non-zero exit.

    Args:
        interrupted: what is said after Ctrl-C.
    """

    def end(kind, error, trace) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(f"\nthaw: {interrupted}\n")
            sys.stderr.flush()
            os._exit(130)  # TensorFlow's threads would hold an ordinary exit for seconds
        elif (said := _said(error)) is not None:
            lines = [plain(line) for line in f"thaw: {said}".split("\n")]
            sys.stderr.write("\n".join(lines) + "\n")
        else:
            sys.__excepthook__(kind, error, trace)

    return end


def _said(error: BaseException) -> str | None:
    """The message for an error that is the user's or the machine's; none for one of ours."""
    if isinstance(error, Refusal):
        return str(error)
    said = _lacking(error)
    return said and f"{said} {going_on()}".rstrip()


def _lacking(error: BaseException) -> str | None:
    """What the machine lacks, and what to do."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        less = "Run fewer" if _kept is None else "Lower batch_size or threads, or run fewer"
        return f"memory ran out. {less} at once."
    if not isinstance(error, OSError):
        return None
    where = f" for {error.filename}" if error.filename else ""
    if error.errno in FULL or re.fullmatch(SHORT, str(error.args[0])):
        return f"the disk has no room{where}. Free some, or set THAW_STORE to a roomier one."
    if error.errno in CLOSED:
        return (
            f"{error.filename or 'a file'} cannot be written or read: {error.strerror}. Give this "
            f"user the right to, or set THAW_STORE to a folder of yours."
        )
    if error.errno in BLOCKED and error.filename:
        return (
            f"{error.filename} cannot be written or read: {error.strerror}. Move away what is "
            f"there, or set THAW_STORE to a folder of yours."
        )
    return None


@contextlib.contextmanager
def whole(path: str | Path, shared: bool = False):
    """Give a path to write a file or a folder to, and move it to `path` once all went well.

    What is written is on disk before it gets its name; after a failure nothing is left.

    Args:
        shared: other processes may write the same path at the same time, as in the store,
            or PATH.part may be a user's own.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part" if shared else f"{path.name}.part")
    remove(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        for file in [part] if part.is_file() else part.rglob("*"):
            if file.is_file():
                with open(file, "rb") as opened:
                    os.fsync(opened.fileno())
        if part.is_dir():  # a file never takes a folder's place
            remove(path)
        os.replace(part, path)
    except BaseException as error:
        remove(part)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
