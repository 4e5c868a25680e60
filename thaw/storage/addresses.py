"""Addresses of remote storage, such as s3://bucket/folder, and the filesystems behind them.

An address is `PROTOCOL://...` with any protocol that fsspec knows. Credentials and endpoints come
from the environment, from the files of the provider's tools and from fsspec's configuration.
"""

import re
import urllib.parse
from typing import Any

import fsspec

from thaw.errors import UserError

ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
WEBDAV = {"webdav": "http", "webdavs": "https", "dav": "http", "davs": "https"}
EXTRAS = {"s3": "s3", "s3a": "s3", "ssh": "ssh", "sftp": "ssh", **dict.fromkeys(WEBDAV, "webdav")}


class Unreachable(UserError):
    """A storage cannot be used from this machine now: nothing answers, or access is refused."""


def is_remote(address: str) -> bool:
    """Return whether a text is an address and not a path."""
    return ADDRESS.match(address) is not None


def filesystem(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of an address, and the path that it has there.

    Args:
        address: Such as s3://bucket/folder, https://host/images.zip or webdavs://host/folder.

    Raises:
        Unreachable: The package of the protocol is missing.
        UserError: The protocol is unknown, or the address or fsspec's configuration is invalid.
    """
    protocol, _, rest = address.partition("://")
    try:
        if protocol in WEBDAV:
            return _webdav(protocol, rest)
        fs, path = fsspec.url_to_fs(address)
        return fs, str(path)
    except ImportError as error:
        raise Unreachable(f"{address}: {_missing(protocol, error)}") from None
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{address} cannot be used: {reason}. Expected an address such as s3://bucket/folder, "
            f"https://host/images.zip or webdavs://host/folder."
        ) from None


def _webdav(protocol: str, rest: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of a host; webdav:// is HTTP and webdavs:// is HTTPS."""
    from fsspec.config import conf
    from webdav4.client import Client
    from webdav4.fsspec import WebdavFileSystem

    class Quoting(Client):  # type: ignore[misc]
        def join_url(self, path: str, add_trailing_slash: bool = False) -> Any:
            """Return the URL of a path, which webdav4 does not quote."""
            return super().join_url(urllib.parse.quote(path), add_trailing_slash)

    host, _, path = rest.partition("/")
    options: dict[str, Any] = dict(conf.get("webdav", {}))
    if isinstance(options.get("auth"), list):  # JSON has no tuples
        options["auth"] = tuple(options["auth"])
    client = Quoting(f"{WEBDAV[protocol]}://{host}", **options)
    return WebdavFileSystem(str(client.base_url), client=client), path


def _missing(protocol: str, error: ImportError) -> str:
    if extra := EXTRAS.get(protocol):
        return f"{protocol}:// needs a missing package. Install it: make setup EXTRA={extra}"
    reason = " ".join(str(error).split())[:200]
    return f"{protocol}:// needs a missing package ({reason}). Add it to pyproject.toml."
