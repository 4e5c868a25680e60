"""Published files, each known by its SHA-256, from the first source that has it."""

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
from pathlib import Path

from tqdm import tqdm

from thaw.data.download.mirror import mirrored, sha256
from thaw.errors import CLOSED, FULL, UserError
from thaw.storage.files import atomic_write
from thaw.storage.store import store_root

SECONDS = 20
"""After which a silent server counts as absent."""
SECONDS_IN_ALL = 3600
"""For one file. What came until then is kept, and the next run goes on from there."""
TRIES = 3
"""In a row that bring nothing."""
PAUSE = 1.0
"""Seconds before the second try; twice as long before each further one."""
MOST_BYTES = 20 * 10**9
"""Of one file; no set that is named here has a tenth of it."""
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
"""Hosts from which a file may come without encryption, since it does not leave the machine."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a server that another try may better."""

_absent: dict[str, str] = {}
"""Hosts that did not answer this process, with the reason: its next file does not wait for them."""


class Failure(Exception):
    """A source cannot give a file; its text is the reason, in a line."""


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows a server elsewhere only as securely as it was asked."""

    def redirect_request(self, request, file, code, message, headers, url):
        before, after = _scheme(request.full_url), urllib.parse.urlsplit(url).scheme
        if after != before:
            raise Failure(f"the server sends us from {before} to {after}, which is not followed")
        _scheme(url)
        return super().redirect_request(request, file, code, message, headers, url)


_open = urllib.request.build_opener(_SameScheme).open


def _scheme(url: str) -> str:
    """https, or http for this machine.

    Raises:
        Failure: it is neither.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return parts.scheme
    raise Failure(f"expected an address that begins with https://, not {parts.scheme}://")


def fetch(
    name: str, digest: str, url: str, package: Callable[[], Path] | None = None, what: str = ""
) -> Path:
    """A file with this content: from the mirror, an earlier download, its public address, or a
    package that holds it, in this order. It may come gzipped or not: `digest` is that of the file
    or of what gzip packed in it, and `opened` reads both.

    Args:
        name: the file's.
        digest: SHA-256 of its content; nothing else is ever given.
        url: its public address.
        package: gives the file out of a package, or raises a Failure.
        what: to call the package.

    Raises:
        UserError: nobody has it; lists each source with its reason and says what to do.
    """
    failed = []
    try:
        return _mirror(name, digest)
    except Failure as reason:
        failed.append(f"THAW_MIRROR: {reason}")
    kept = store_root() / "downloads" / digest / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(kept.with_name(f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a queued experiment may want the same file now
        if kept.exists() and has(kept, digest):
            return kept
        try:
            _download(url, digest, kept)
            return kept
        except Failure as reason:
            failed.append(f"{url}: {reason}")
        if package is not None:
            try:
                file = package()
                if not has(file, digest):
                    raise Failure(f"its {file.name} has SHA-256 {sha256(file)}")
                with atomic_write(kept) as part:
                    shutil.copyfile(file, part)
                return kept
            except Failure as reason:
                failed.append(f"{what}: {reason}")
    raise UserError(
        f"no source has {name} with SHA-256 {digest}:\n  " + "\n  ".join(failed) + "\n"
        f"      On a machine without network: fetch {url} elsewhere, put it in a folder and set "
        f"THAW_MIRROR to that folder."
    )


def opened(path: Path):
    """A binary file to read the content of `path` from, whether it is gzipped or not."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else open(path, "rb")


def has(path: Path, digest: str) -> bool:
    """Whether `digest` is the SHA-256 of a file, or of what is gzipped in it."""
    if sha256(path) == digest:
        return True
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (OSError, EOFError, zlib.error):
        return False


def _mirror(name: str, digest: str) -> Path:
    found = mirrored(name.lower(), name.lower().removesuffix(".gz"))
    for file in found:
        if has(file, digest):
            return file
    if found:
        raise Failure(f"{found[0]} is another file, with SHA-256 {sha256(found[0])}")
    raise Failure(
        f"holds no {name}" if os.environ.get("THAW_MIRROR") else "not set (a folder of your own)"
    )


def _download(url: str, digest: str, kept: Path) -> None:
    """Download to `kept`, going on from what an earlier try or run left beside it."""
    _scheme(url)
    host = urllib.parse.urlsplit(url).netloc
    if host in _absent:
        raise Failure(_absent[host])
    part = kept.with_name(f"{kept.name}.partial")
    end = time.monotonic() + SECONDS_IN_ALL
    resumed, vain = part.exists(), 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(url, part, end)
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in FULL | CLOSED:
                raise  # this machine's, not the server's
            came = part.exists() and part.stat().st_size > before
            vain = 0 if came else vain + 1
            answered = isinstance(error, urllib.error.HTTPError)
            if vain == TRIES or (answered and error.code not in PASSING):
                if not answered:
                    _absent[host] = _reason(error)
                raise Failure(_reason(error)) from None
            time.sleep(min(PAUSE * 2 ** max(vain - 1, 0), max(0, end - time.monotonic())))
            continue
        if has(part, digest):
            os.replace(part, kept)
            return
        found = sha256(part)
        part.unlink()
        if not resumed:
            raise Failure(f"what came has SHA-256 {found}, and was deleted")
        resumed = False  # it may have begun as another file: once more, from the start


def _continue(url: str, part: Path, end: float) -> None:
    """Add to `part` what it lacks of the file at `url`.

    Raises:
        Failure: the time is over.
        OSError, HTTPException: the server is absent, refuses, falls silent or breaks off.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "thaw", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={have}-"} if have else {}
    asked = urllib.request.Request(url, headers=headers)
    _in_time(end)
    try:
        answer = _open(asked, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: there is no more than we have
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] != str(have):
            part.unlink()
            raise ConnectionError("the file has become shorter") from None
        return
    with answer:
        start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if answer.status != 206 or start != str(have):
            have = 0  # the server gives it from the start, or there was nothing
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() and len(length) < 20 else None
        _in_size(part, total or have)
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
            while chunk := answer.read1(1 << 16):
                _in_size(part, file.tell() + len(chunk))
                file.write(chunk)
                bar.update(len(chunk))
                _in_time(end)
            came = file.tell()
    if total is not None and came < total:
        raise ConnectionError(f"the connection broke off after {came:,} of {total:,} bytes")


def _in_size(part: Path, size: int) -> None:
    if size > MOST_BYTES:
        part.unlink(missing_ok=True)
        raise Failure(f"it has {size:,} bytes or more, expected {MOST_BYTES:,} at most")


def _in_time(end: float) -> None:
    if time.monotonic() > end:
        raise Failure(f"not done after {SECONDS_IN_ALL} s; the same command goes on from here")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    error = getattr(error, "reason", error)  # what urllib wraps
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS} s"
    error = getattr(error, "strerror", None) or error  # without its number
    return f"{error}".strip().splitlines()[0] if f"{error}".strip() else type(error).__name__
