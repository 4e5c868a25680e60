"""List, read and download the objects at an address."""

import contextlib
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.errors import CLOSED, FULL, UserError, see
from thaw.storage.addresses import Unreachable, filesystem

TRIES = 3  # per object; the packages of some protocols retry by themselves as well
RESUMED_BYTES = 2**24  # a partial download from this size is continued, a smaller one starts over
CHUNK_BYTES = 2**20  # read at a time, so that memory does not grow with an object
CREDENTIALS = see("object-storage", "credentials")
DOWNLOADS = 16  # at once; storages answer in tens of milliseconds and send each object slowly

# Names of the exceptions of S3, HTTP, WebDAV and SSH packages and of their base classes
NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "DefaultCredentialsError", "TokenRetrievalError", "SSOError",
}  # fmt: skip
NO_ANSWER = {
    "HTTPClientError", "ConnectionError", "ClientConnectionError", "TransportError", "gaierror",
    "TimeoutError", "EndpointConnectionError", "FSTimeoutError", "ServerTimeoutError",
}  # fmt: skip


@dataclass(frozen=True, slots=True)  # there may be a million
class RemoteFile:
    """An object as it was listed.

    Attributes:
        path: Its path in its filesystem.
        size: In bytes; None if the server does not say.
        version: Changes with the content: "etag:..." or "time:...", or "" if there is neither.
    """

    path: str
    size: int | None
    version: str


class Remote:
    """A folder, a bucket or a single object at an address.

    Args:
        address: Such as s3://bucket/folder.

    Raises:
        UserError: The address is invalid.
        Unreachable: The package of its protocol is missing.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.fs, path = filesystem(address)
        self.path = path.rstrip("/")

    def files(self) -> dict[str, RemoteFile]:
        """Return all objects below the address by their relative paths, sorted.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: There is no object, or the protocol cannot list.
        """
        if self.address.startswith(("http://", "https://")):
            raise UserError(
                f"{self.address}: a web server cannot list a folder. Expected an archive, "
                f"or an address such as s3://bucket/folder or webdavs://host/folder."
            )
        self.fs.invalidate_cache()
        with self._reported():
            found = self.fs.find(self.path, detail=True)
        inside = f"{self.path.strip('/')}/" if self.path else ""
        files = {
            name.lstrip("/").removeprefix(inside): _remote_file(name, info)
            for name, info in found.items()
            if info.get("type") == "file" and not name.endswith("/")
        }
        self.fs.invalidate_cache()  # it has over 1 KB for each object
        if not files:
            raise UserError(
                f"{self.address}: there is no object below this address. Check its spelling, or "
                f"upload the images."
            )
        return dict(sorted(files.items()))

    def file(self) -> RemoteFile:
        """Return the object at the address.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: There is no such object.
        """
        self.fs.invalidate_cache()
        with self._reported():
            return _remote_file(self.path, self.fs.info(self.path))

    def read(self, file: RemoteFile) -> bytes:
        """Return the content of an object.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: The object does not exist any more, or was received in part.
        """
        for attempt in range(TRIES):
            with self._reported(file, last=attempt == TRIES - 1):
                content: bytes = self.fs.cat_file(file.path)
                if file.size in (None, len(content)):
                    return content
        raise self._truncated(file, len(content))

    def download(self, file: RemoteFile, target: Path) -> None:
        """Write an object to `target`, continuing the partial download beside it if there is one.

        Raises:
            Unreachable: The storage does not answer, or refuses access.
            UserError: The object does not exist any more, or was received in part.
        """
        part = target.with_name(f"{target.name}.partial")
        for attempt in range(TRIES):
            with self._reported(file, last=attempt == TRIES - 1):
                self._receive(file, part)
                received = part.stat().st_size
                if file.size in (None, received):
                    os.replace(part, target)
                    return
                if received > (file.size or 0) or received < RESUMED_BYTES:
                    part.unlink()
        raise self._truncated(file, received)

    def _receive(self, file: RemoteFile, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        if file.size is not None and RESUMED_BYTES <= have < file.size:
            with contextlib.suppress(ValueError):  # the server ignores ranges
                with self.fs.open(file.path, "rb") as source, open(part, "ab") as target:
                    source.seek(have)
                    while chunk := source.read(CHUNK_BYTES):
                        target.write(chunk)
                return
        self.fs.get_file(file.path, str(part))

    def _truncated(self, file: RemoteFile, received: int) -> UserError:
        return UserError(
            f"{self.name(file)}: received {received:,} of {file.size or 0:,} bytes in each of "
            f"{TRIES} attempts. Either the connection breaks or the object changed since it was "
            f"listed. Run the same command again to continue."
        )

    def name(self, file: RemoteFile | None = None) -> str:
        """Return the full address of an object, or of the folder."""
        if file is None or file.path.strip("/") == self.path.strip("/"):
            return self.address
        inside = file.path.lstrip("/").removeprefix(f"{self.path.strip('/')}/")
        return f"{self.address.rstrip('/')}/{inside}"

    @contextlib.contextmanager
    def _reported(self, file: RemoteFile | None = None, last: bool = True) -> Iterator[None]:
        """Raise what the packages raise as a UserError; suppress what may pass until `last`."""
        try:
            yield
        except Exception as error:
            if isinstance(error, UserError) or getattr(error, "errno", None) in FULL | CLOSED:
                raise  # a problem of this machine has an errno, an answer of a server has none
            message, permanent = _explain(error, self.name(file), listed=file is not None)
            if permanent or last:
                raise message from None


def file_name(address: str) -> str:
    """Return the last part of an address, without the query of a URL."""
    if address.startswith(("http://", "https://")):
        address = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
    return address.rstrip("/").rpartition("/")[2]


def _remote_file(path: str, info: dict[str, Any]) -> RemoteFile:
    values = {key.lower().replace("-", "").replace("_", ""): info[key] for key in info}
    version = ""
    if etag := values.get("etag"):
        version = f"etag:{str(etag).strip(chr(34))}"
    else:
        times = (values.get(key) for key in ("lastmodified", "modified", "updated", "mtime"))
        if time := next((time for time in times if time), None):
            version = f"time:{time.isoformat() if hasattr(time, 'isoformat') else time}"
    return RemoteFile(path, info.get("size"), version)


def _explain(error: BaseException, name: str, listed: bool) -> tuple[UserError, bool]:
    """Return what to tell the user, and whether another attempt would be useless."""
    chain, kinds, status = error, set(), 0
    while chain is not None:
        kinds |= {kind.__name__ for kind in type(chain).__mro__}
        status = status or next(
            (
                value
                for key in ("status", "status_code", "code")
                if type(value := getattr(chain, key, None)) is int
            ),
            0,
        )
        chain = chain.__cause__  # type: ignore[assignment]
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    if kinds & NO_CREDENTIALS:
        return Unreachable(
            f"{name}: no credentials were found ({reason}). Set them in the environment, for S3 "
            f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE. {CREDENTIALS}"
        ), True
    if status in (401, 403) or "PermissionError" in kinds:
        return Unreachable(
            f"{name}: access was refused ({reason}). Check the credentials in the environment and "
            f"their permission to list and read. {CREDENTIALS}"
        ), True
    if kinds & NO_ANSWER:
        return Unreachable(
            f"{name} cannot be reached ({reason}). Check the network and the address of the "
            f"server, for S3 AWS_ENDPOINT_URL. Run the same command again to continue."
        ), False
    if "FileNotFoundError" in kinds and listed:
        return UserError(
            f"{name} was listed and does not exist any more. Run the same command again."
        ), True
    if "FileNotFoundError" in kinds:
        return UserError(
            f"{name} does not exist ({reason}). Check the names of bucket, folder and file."
        ), True
    return UserError(
        f"{name} cannot be read ({type(error).__name__}: {reason}). Run the same command again "
        f"to continue."
    ), False
