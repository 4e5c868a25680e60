"""Addresses of remote storage, such as s3://bucket/folder, and the filesystems behind them.

An address is `PROTOCOL://...` with any protocol that fsspec knows. Credentials and endpoints come
from the environment, from the files of the provider's tools and from fsspec's configuration.
"""

import re
from typing import Any

import fsspec

from thaw.errors import UserError

ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
WEBDAV = {"webdav": "http", "webdavs": "https", "dav": "http", "davs": "https"}
EXTRAS = {"s3": "s3", "s3a": "s3", "ssh": "ssh", "sftp": "ssh", **dict.fromkeys(WEBDAV, "webdav")}


def is_remote(address: str) -> bool:
    """Return whether a text is an address and not a path."""
    return ADDRESS.match(address) is not None


def filesystem(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of an address, and the path that it has there.

    Args:
        address: Such as s3://bucket/folder, https://host/images.zip or webdavs://host/folder.

    Raises:
        UserError: The protocol is unknown, its package is missing, or the address or fsspec's
            configuration is invalid.
    """
    protocol, _, rest = address.partition("://")
    try:
        if protocol in WEBDAV:
            return _webdav(protocol, rest)
        fs, path = fsspec.url_to_fs(address)
        return fs, str(path)
    except ImportError as error:
        raise UserError(f"{address}: {_missing(protocol, error)}") from None
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{address} cannot be used: {reason}. Expected an address such as s3://bucket/folder, "
            f"https://host/images.zip or webdavs://host/folder."
        ) from None


def _webdav(protocol: str, rest: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of a host; webdav:// is HTTP and webdavs:// is HTTPS."""
    from fsspec.config import conf
    from webdav4.fsspec import WebdavFileSystem

    host, _, path = rest.partition("/")
    options: dict[str, Any] = dict(conf.get("webdav", {}))
    if isinstance(options.get("auth"), list):  # JSON has no tuples
        options["auth"] = tuple(options["auth"])
    return WebdavFileSystem(f"{WEBDAV[protocol]}://{host}", **options), path


def _missing(protocol: str, error: ImportError) -> str:
    if extra := EXTRAS.get(protocol):
        return f"{protocol}:// needs a package that is missing. Install it: make setup EXTRA={extra}"
    reason = " ".join(str(error).split())[:200]
    return f"{protocol}:// needs a package that is missing ({reason}). Add it to pyproject.toml."
