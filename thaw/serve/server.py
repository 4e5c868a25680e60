"""Bind the address of `thaw serve` and run its HTTP server."""

import ipaddress
import logging
import socket
from typing import Any

import uvicorn

from thaw.errors import UserError

GRACE_SECONDS = 1  # time that open requests have to finish after Ctrl-C


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at this address.

    It listens at once, so that no second server can take the address while the model is loaded.
    Clients that connect before `run` wait.

    Args:
        host: an address or a name of this machine.
        port: 0 chooses a free one.

    Raises:
        UserError: the address is in use or does not belong to this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # until then another server could bind it too
    except PermissionError:
        raise UserError(
            f"--port {port}: this user may not listen on this port. Choose 1024 or above."
        ) from None
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"--host {host}: expected an address or a name of this machine, for example 127.0.0.1."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port}: {error.strerror}. Choose another address with "
            f"--host or --port."
        ) from None
    return listener


def server_url(listener: socket.socket) -> str:
    """Return the URL of the page at a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return bool((getattr(ip, "ipv4_mapped", None) or ip).is_loopback)


def run(app: Any, listener: socket.socket, ready_message: str) -> None:
    """Serve until a signal ends the process.

    Args:
        app: the ASGI application.
        listener: from `bind`.
        ready_message: printed once the server accepts requests.
    """

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(ready_message, flush=True)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    # uvicorn logs requests that Ctrl-C cuts off as errors; they are expected
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    server.run(sockets=[listener])
