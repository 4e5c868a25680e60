"""Download Python packages that contain data. Their code is never run."""

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
    """Return the wheel of a package, downloading it if necessary.

    The sources are tried in this order: the mirror, an earlier download, and the package index
    that pip is configured to use.

    Args:
        name: The name of the package.
        version: Its version.
        digest: SHA-256 of the wheel. Other wheels are rejected.

    Raises:
        UserError: No source has the wheel. The message says what to do without a network.
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
        result = subprocess.run(command, capture_output=True, text=True, env=_without_colour())
        if result.returncode:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
            reason = errors[-1] if errors else result.stderr.strip()[-300:]
            raise UserError(
                f"pip cannot download the package {name} {version}: {reason}\n"
                f"      On a machine without network: download it on another one (pip download "
                f"--no-deps {name}=={version}), copy it into a folder and set THAW_MIRROR to that "
                f"folder."
            )
        (wheel,) = Path(folder).glob("*.whl")
        with atomic_write(kept, shared=True) as part:
            shutil.copyfile(wheel, part)
    return kept


def _without_colour() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1"}
