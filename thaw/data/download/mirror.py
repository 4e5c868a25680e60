"""The user's own copies: `THAW_MIRROR`, a file or a folder, asked before any network."""

import hashlib
import os
from pathlib import Path

from thaw.errors import UserError
from thaw.storage.dvc import user_path


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mirrored(*suffixes: str) -> list[Path]:
    """The files of `THAW_MIRROR` whose names end with one of `suffixes`, in order of name.

    Raises:
        UserError: it names nothing that exists.
    """
    named = os.environ.get("THAW_MIRROR")
    if not named:
        return []
    mirror = user_path(named)
    if not mirror.exists():
        raise UserError(
            f"THAW_MIRROR = {named!r}: no such file or folder. Name one that holds the downloads, "
            f"or unset it."
        )
    files = [mirror] if mirror.is_file() else sorted(p for p in mirror.rglob("*") if p.is_file())
    return [file for file in files if file.name.lower().endswith(suffixes)]
