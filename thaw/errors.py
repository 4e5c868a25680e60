"""Errors that users see as one message: what was given, what was expected, what to do."""

import errno
import mmap
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from types import TracebackType

FULL = {errno.ENOSPC, errno.EDQUOT}  # no space left, or the user's quota is used up
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}  # permissions forbid it
BLOCKED = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}  # bad path
NUMPY_FULL = r"\d+ requested and \d+ written"  # NumPy's whole message when the disk is full
NOTE_BYTES = 256  # of shared memory; a progress note is one short line


class UserError(Exception):
    """An input, a parameter or a file of the user cannot be used.

    The text is the whole message that the user sees: what was given, what was expected and what
    to do.
    """


def bullet_list(items: list[str], most: int = 20) -> str:
    """Return an indented list of the first `most` items, then how many more there are."""
    lines = [f"  {item}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  ... and {len(items) - most} more")
    return "\n".join(lines)


def see(page: str, section: str) -> str:
    """Return the sentence that names the command which prints a section of the documentation.

    Args:
        page: The name of a file in docs/, without its suffix.
        section: The anchor of one of its headings.
    """
    return f"See `thaw help {page} {section}`"


def printable(text: str) -> str:
    """Replace control characters and characters that cannot be shown with `?`.

    File names may contain escape sequences that a terminal would obey.
    """
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "?" for c in text)


_progress_note: mmap.mmap | None = None


def share_progress_notes() -> None:
    """Share progress notes between this process and those that it forks from now on."""
    global _progress_note
    _progress_note = mmap.mmap(-1, NOTE_BYTES)


def note_progress(progress: str) -> None:
    """Note the work that is already saved, for the message if the stage ends early.

    Args:
        progress: such as "1,200 of 2,624 images".
    """
    if _progress_note is not None:
        _progress_note[:] = progress.encode()[: NOTE_BYTES - 1].ljust(NOTE_BYTES, b"\0")


def resume_hint() -> str:
    """Return a line that says what a stage has saved and how to continue; empty outside stages."""
    if _progress_note is None:
        return ""
    progress = _progress_note[:].rstrip(b"\0").decode(errors="ignore")
    return f"Kept: {progress or 'all finished work'}. Run the same command again to continue."


def exception_hook(
    interrupted: str = "",
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return a `sys.excepthook` that shows errors of the user or the machine as one message.

    A UserError, Ctrl-C, a full disk and too little memory end so. Any other error gets a traceback.

    Args:
        interrupted: the message after Ctrl-C.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(f"\nthaw: {interrupted}\n")
            sys.stderr.flush()
            os._exit(130)  # an ordinary exit waits seconds for TensorFlow's threads
        elif (message := _message(error)) is not None:
            lines = [printable(line) for line in f"thaw: {message}".split("\n")]
            sys.stderr.write("\n".join(lines) + "\n")
        else:
            sys.__excepthook__(kind, error, trace)

    return hook


def _message(error: BaseException) -> str | None:
    """Return the message for an error of the user or the machine, or None for a bug."""
    if isinstance(error, UserError):
        return str(error)
    message = _machine_message(error)
    return message and f"{message} {resume_hint()}".rstrip()


def _machine_message(error: BaseException) -> str | None:
    """Return what the machine lacks and what to do, or None if `error` is of another kind."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        lower = "Run" if _progress_note is None else "Lower batch_size or threads, or run"
        return f"memory ran out. {lower} fewer at once."
    if not isinstance(error, OSError):
        return None
    if error.errno in FULL or re.fullmatch(NUMPY_FULL, str(error.args[0])):
        place = f" for {error.filename}" if error.filename else ""
        return f"the disk has no space left{place}. Free some, or set THAW_STORE to another disk."
    if error.errno in CLOSED:
        return (
            f"{error.filename or 'a file'} cannot be written or read: {error.strerror}. Give this "
            f"user the permission, or set THAW_STORE to a folder of yours."
        )
    if error.errno in BLOCKED and error.filename:
        return (
            f"{error.filename} cannot be written or read: {error.strerror}. Move away what is "
            f"there, or set THAW_STORE to a folder of yours."
        )
    return None
