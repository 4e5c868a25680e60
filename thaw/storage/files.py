"""Files and folders that are written completely or not at all."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | Path, shared: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to `path` after the block.

    All files are flushed to disk before the move. If the block raises, the temporary file or folder
    is removed and `path` stays as it was.

    Args:
        path: the file or folder to write.
        shared: Other processes may write the same path at the same time, as in the store, or
            PATH.part may belong to the user.

    Yields:
        The path to create a file or a folder at.
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
        if part.is_dir():  # a file never replaces a folder
            remove(path)
        os.replace(part, path)
    except BaseException as error:
        remove(part)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
