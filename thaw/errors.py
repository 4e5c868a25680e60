"""Errors as a user sees them: one message that says what was given, what was expected, what to do."""

import errno
import mmap
import os
import re
import sys
import unicodedata

FULL = {errno.ENOSPC, errno.EDQUOT}
SHORT = r"\d+ requested and \d+ written"
"""All that NumPy says of a full disk."""
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
BLOCKED = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}


class UserError(Exception):
    """Something the user gave cannot be used. Its text is the whole message the user sees:
    what was given, what was expected and what to do."""


def bullet_list(offenders: list[str], most: int = 20) -> str:
    """The offenders as an indented list: the first `most`, then how many more."""
    lines = [f"  {offender}" for offender in offenders[:most]]
    if len(offenders) > most:
        lines.append(f"  ... and {len(offenders) - most} more")
    return "\n".join(lines)


def printable(text: str) -> str:
    """As it is, but for what a terminal would obey or could not show, as names of files may hold:
    each such character is a question mark."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "?" for c in text)


_kept: mmap.mmap | None = None


def share_progress_notes() -> None:
    """From now on what `note_kept` is told is seen by a process that this one forks, and back."""
    global _kept
    _kept = mmap.mmap(-1, 256)


def note_progress(what: str) -> None:
    """Note what a run that ended now would go on from."""
    if _kept is not None:
        _kept[:] = what.encode()[:255].ljust(256, b"\0")


def resume_hint() -> str:
    """What a stage kept and what to do, in a line; nothing of what is no stage."""
    if _kept is None:
        return ""
    what = _kept[:].rstrip(b"\0").decode(errors="ignore")
    return f"Kept: {what or 'what was finished'}. The same command goes on from there."


def exception_hook(interrupted: str = ""):
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
            lines = [printable(line) for line in f"thaw: {said}".split("\n")]
            sys.stderr.write("\n".join(lines) + "\n")
        else:
            sys.__excepthook__(kind, error, trace)

    return end


def _said(error: BaseException) -> str | None:
    """The message for an error that is the user's or the machine's; none for one of ours."""
    if isinstance(error, UserError):
        return str(error)
    said = _lacking(error)
    return said and f"{said} {resume_hint()}".rstrip()


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
