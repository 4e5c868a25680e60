"""Files of Debian's packages, got as any user may, and not installed."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from thaw.data.download.fetch import Failure

SECONDS = 300
"""For one command."""


@functools.cache
def unpacked(package: str) -> tempfile.TemporaryDirectory:
    """A folder with a package's files, as long as somebody holds it.

    apt's own lists of packages are asked first; where there are none, as in many containers, a
    list that is fetched for this alone.

    Raises:
        Failure: there is no apt-get here, or it does not have the package.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Failure(f"there is no {tool} on this machine")
    folder = tempfile.TemporaryDirectory()
    into = Path(folder.name)
    options = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1"]
    options += ["-o", "APT::Sandbox::User=root"]  # or it cannot write where only we may
    try:
        _call(into, "apt-get", *options, "download", package)
    except Failure:
        for name in ("lists/partial", "cache/archives/partial"):
            (into / name).mkdir(parents=True)
        options += ["-o", f"Dir::State::lists={into}/lists", "-o", f"Dir::Cache={into}/cache"]
        _call(into, "apt-get", *options, "update")
        _call(into, "apt-get", *options, "download", package)
    (archive,) = into.glob("*.deb")
    _call(into, "dpkg-deb", "-x", archive.name, "files")
    archive.unlink()
    return folder


def from_debian(package: str, path: str) -> Path:
    """One file of a package.

    Raises:
        Failure: it cannot be had.
    """
    file = Path(unpacked(package).name) / "files" / path
    if not file.is_file():
        raise Failure(f"it holds no {path}")
    return file


def _call(here: Path, *command: str) -> None:
    try:
        answer = subprocess.run(
            command,
            cwd=here,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} was not done after {SECONDS} s") from None
    if answer.returncode:
        said = [line for line in answer.stderr.splitlines() if line.startswith("E: ")]
        reason = said[0].removeprefix("E: ") if said else answer.stderr.strip()[-200:]
        raise Failure(f"{command[0]} says: {reason}")
