"""Files that are written completely or not at all."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | Path, shared: bool = False):
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
