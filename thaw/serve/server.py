"""The address and the server that listens there."""

import ipaddress
import logging
import socket

import uvicorn

from thaw.errors import UserError

GRACE = 1
"""Seconds that requests under way have to end after Ctrl-C."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at this address, so that no other server can take it: who connects
    before `run` waits.

    Raises:
        UserError: it is taken, or no address of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen()  # until then another server could bind it too
    except PermissionError:
        raise UserError(
            f"--port {port}: this user may not listen there. Take 1024 or more."
        ) from None
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"--host {host}: expected an address or a name of this machine, as 127.0.0.1."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}, port {port}: {error.strerror}. Choose another with --host "
            f"or --port."
        ) from None
    return made


def url(listening: socket.socket) -> str:
    """Of the page at a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an IP address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def run(app, listening: socket.socket, said: str) -> None:
    """Serve until a signal ends it.

    Args:
        said: what is printed once it listens.
    """

    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            print(said, flush=True)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(config)
    # requests that Ctrl-C cuts off are no news
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    server.run(sockets=[listening])
