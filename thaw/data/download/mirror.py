"""Find files in `THAW_MIRROR`, a file or folder that takes precedence over the network."""

import hashlib
import os
from pathlib import Path

from thaw.errors import UserError
from thaw.storage.dvc import user_path


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mirrored(*suffixes: str) -> list[Path]:
    """Return the files in `THAW_MIRROR` whose names end with one of `suffixes`, sorted.

    Args:
        suffixes: In lower case; the case of file names is ignored.

    Raises:
        UserError: `THAW_MIRROR` is set and does not exist.
    """
    value = os.environ.get("THAW_MIRROR")
    if not value:
        return []
    mirror = user_path(value)
    if not mirror.exists():
        raise UserError(
            f"THAW_MIRROR = {value!r}: no such file or folder. Set it to one with downloaded "
            f"files, or unset it."
        )
    files = [mirror] if mirror.is_file() else sorted(p for p in mirror.rglob("*") if p.is_file())
    return [file for file in files if file.name.lower().endswith(suffixes)]
