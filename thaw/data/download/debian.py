"""Download files of Debian packages without installing the packages."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from thaw.data.download.fetch import Failure

SECONDS = 300  # per command, most of it download time


@functools.cache
def unpacked(package: str) -> "tempfile.TemporaryDirectory[str]":
    """Return a temporary folder whose sub-folder `files` contains the files of a package.

    This first uses the package lists of the machine. If they lack the package, as in many
    containers, it downloads a separate list.

    Raises:
        Failure: The machine has no apt-get, or the package is not available.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Failure(f"this machine has no {tool}")
    folder = tempfile.TemporaryDirectory()
    into = Path(folder.name)
    options = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1"]
    options += ["-o", "APT::Sandbox::User=root"]  # another user could not write to our folder
    try:
        _run(into, "apt-get", *options, "download", package)
    except Failure:
        for name in ("lists/partial", "cache/archives/partial"):
            (into / name).mkdir(parents=True)
        options += ["-o", f"Dir::State::lists={into}/lists", "-o", f"Dir::Cache={into}/cache"]
        _run(into, "apt-get", *options, "update")
        _run(into, "apt-get", *options, "download", package)
    (archive,) = into.glob("*.deb")
    _run(into, "dpkg-deb", "-x", archive.name, "files")
    archive.unlink()
    return folder


def from_debian(package: str, path: str) -> Path:
    """Return a file of a Debian package.

    Args:
        package: The name of the package.
        path: The path of the file in the package, relative to /.

    Raises:
        Failure: The package is not available or lacks the file.
    """
    file = Path(unpacked(package).name) / "files" / path
    if not file.is_file():
        raise Failure(f"the package does not contain {path}")
    return file


def _run(folder: Path, *command: str) -> None:
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not finish within {SECONDS} s") from None
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("E: ")]
        reason = errors[0].removeprefix("E: ") if errors else result.stderr.strip()[-200:]
        raise Failure(f"{command[0]} failed: {reason}")
