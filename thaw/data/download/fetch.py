"""Download published files, which are identified by their SHA-256."""

import fcntl
import gzip
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from tqdm import tqdm

from thaw.data.download.mirror import mirrored, sha256
from thaw.errors import CLOSED, FULL, UserError
from thaw.storage.files import atomic_write
from thaw.storage.store import store_root

SECONDS = 20  # without an answer, after which a server counts as unreachable
SECONDS_IN_ALL = 3600  # per file; the partial file is kept, and the next run resumes it
TRIES = 3  # consecutive attempts without progress
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
MAX_BYTES = 20 * 10**9  # per file; over ten times the largest dataset in conf/
LOOPBACK = {"127.0.0.1", "::1", "localhost"}  # hosts that need no encryption
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that are worth another attempt

# Hosts that this process could not reach, with the reason. Its next file does not wait for them.
_unreachable: dict[str, str] = {}


class Failure(Exception):
    """Raised when a source cannot provide a file. Its text is the reason, in one line."""


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirects only within the same scheme, so that none gives up encryption."""

    def redirect_request(
        self, request: Any, file: Any, code: int, message: str, headers: Any, url: str
    ) -> urllib.request.Request | None:
        before, after = _scheme(request.full_url), urllib.parse.urlsplit(url).scheme
        if after != before:
            raise Failure(f"the server redirects from {before} to {after}, which is not allowed")
        _scheme(url)
        return super().redirect_request(request, file, code, message, headers, url)


_open = urllib.request.build_opener(_SameScheme).open


def _scheme(url: str) -> str:
    """Return the scheme of a URL: https, or http on a loopback host.

    Raises:
        Failure: The scheme is another one.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return parts.scheme
    raise Failure(f"expected a URL that starts with https://, not {parts.scheme}://")


def fetch(
    name: str,
    digest: str,
    url: str,
    package: Callable[[], Path] | None = None,
    package_name: str = "",
) -> Path:
    """Return a local file with the given content, downloading it if necessary.

    The sources are tried in this order: the mirror, an earlier download, the URL, and a package
    that contains the file. The file may be gzip-compressed or not; `opened` reads both.

    Args:
        name: The name of the file.
        digest: SHA-256 of the file or of its decompressed content. Files with other digests are
            rejected.
        url: The public URL of the file.
        package: Returns the file from a package, or raises a Failure.
        package_name: How messages name the package.

    Raises:
        UserError: No source has the file. The message lists the reason for each source.
    """
    failures = []
    try:
        return _mirror(name, digest)
    except Failure as reason:
        failures.append(f"THAW_MIRROR: {reason}")
    kept = store_root() / "downloads" / digest / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(kept.with_name(f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a queued experiment may download the same file
        if kept.exists() and has_digest(kept, digest):
            return kept
        try:
            _download(url, digest, kept)
            return kept
        except Failure as reason:
            failures.append(f"{url}: {reason}")
        if package is not None:
            try:
                file = package()
                if not has_digest(file, digest):
                    raise Failure(f"its {file.name} has SHA-256 {sha256(file)}")
                with atomic_write(kept) as part:
                    shutil.copyfile(file, part)
                return kept
            except Failure as reason:
                failures.append(f"{package_name}: {reason}")
    raise UserError(
        f"no source has {name} with SHA-256 {digest}:\n  " + "\n  ".join(failures) + "\n"
        f"      On a machine without network: download {url} on another one, copy it into a folder "
        f"and set THAW_MIRROR to that folder."
    )


def opened(path: Path) -> BufferedIOBase:
    """Open a file for reading its content, decompressed if it is a gzip file."""
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else open(path, "rb")


def has_digest(path: Path, digest: str) -> bool:
    """Return whether `digest` is the SHA-256 of a file or of its decompressed content."""
    if sha256(path) == digest:
        return True
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (OSError, EOFError, zlib.error):
        return False


def _mirror(name: str, digest: str) -> Path:
    files = mirrored(name.lower(), name.lower().removesuffix(".gz"))
    for file in files:
        if has_digest(file, digest):
            return file
    if files:
        raise Failure(f"{files[0]} has another SHA-256, {sha256(files[0])}")
    raise Failure(
        f"contains no {name}"
        if os.environ.get("THAW_MIRROR")
        else "not set (a folder with downloaded files)"
    )


def _download(url: str, digest: str, kept: Path) -> None:
    """Download to `kept`, resuming the partial file beside it if there is one."""
    _scheme(url)
    host = urllib.parse.urlsplit(url).netloc
    if host in _unreachable:
        raise Failure(_unreachable[host])
    part = kept.with_name(f"{kept.name}.partial")
    end = time.monotonic() + SECONDS_IN_ALL
    resumed, futile = part.exists(), 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _resume(url, part, end)
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in FULL | CLOSED:
                raise  # a problem of this machine, not of the server
            progressed = part.exists() and part.stat().st_size > before
            futile = 0 if progressed else futile + 1
            status = error.code if isinstance(error, urllib.error.HTTPError) else None
            if futile == TRIES or (status is not None and status not in TRANSIENT):
                if status is None:
                    _unreachable[host] = _reason(error)
                raise Failure(_reason(error)) from None
            time.sleep(min(PAUSE * 2 ** max(futile - 1, 0), max(0, end - time.monotonic())))
            continue
        if has_digest(part, digest):
            os.replace(part, kept)
            return
        actual = sha256(part)
        part.unlink()
        if not resumed:
            raise Failure(f"the downloaded file has SHA-256 {actual} and was deleted")
        resumed = False  # the partial file may have been of another file, so start over once


def _resume(url: str, part: Path, end: float) -> None:
    """Append to `part` the rest of the file at `url`.

    Args:
        url: The file.
        part: The partial file, which need not exist.
        end: Reading of the monotonic clock at which to give up, in seconds.

    Raises:
        Failure: The time is over, or the file is too large.
        OSError, HTTPException: The server is unreachable, refuses, stalls or disconnects.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "thaw", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)
    _check_time(end)
    try:
        response = _open(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: the file has no more bytes than we have
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] != str(have):
            part.unlink()
            raise ConnectionError("the file on the server became shorter") from None
        return
    with response:
        start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if response.status != 206 or start != str(have):
            have = 0  # the server sends the file from its start, or we had nothing
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() and len(length) < 20 else None
        _check_size(part, total or have)
        bar = tqdm(
            desc=part.name.removesuffix(".partial"),
            initial=have,
            total=total,
            unit="B",
            unit_scale=True,
            mininterval=0.1 if sys.stderr.isatty() else 15,
        )
        with bar, open(part, "ab") as file:
            file.truncate(have)
            while chunk := response.read1(1 << 16):
                _check_size(part, file.tell() + len(chunk))
                file.write(chunk)
                bar.update(len(chunk))
                _check_time(end)
            received = file.tell()
    if total is not None and received < total:
        raise ConnectionError(f"the connection was lost after {received:,} of {total:,} bytes")


def _check_size(part: Path, size: int) -> None:
    if size > MAX_BYTES:
        part.unlink(missing_ok=True)
        raise Failure(f"the file has at least {size:,} bytes, expected at most {MAX_BYTES:,}")


def _check_time(end: float) -> None:
    if time.monotonic() > end:
        raise Failure(f"not finished after {SECONDS_IN_ALL} s; repeat the command to resume")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    error = getattr(error, "reason", error)  # the error that urllib wraps
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS} s"
    error = getattr(error, "strerror", None) or error  # without the error number
    return f"{error}".strip().splitlines()[0] if f"{error}".strip() else type(error).__name__
