"""What is asked of a request before anybody reads its body: whom it asks, size, form and time."""

import asyncio
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from thaw.serve.server import is_loopback

LINGER = 2.0
"""Seconds for which the rest of a refused body is taken and dropped: a connection that is closed on
a client that still sends loses the answer."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Guard:
    """An ASGI application before another.

    Args:
        most_bytes: of a request's body.
        seconds: of a request, from its first line to its answer.
        local: this machine alone is answered, and by its own names alone.
    """

    def __init__(self, app, most_bytes: int, seconds: float, local: bool):
        self.app, self.most_bytes, self.seconds, self.local = app, most_bytes, seconds, local

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def begin(message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                pairs = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *pairs]
            await send(message)

        if refused := self._refused(scope):
            await self._turn_away(refused, scope, receive, begin)
            return
        try:
            async with asyncio.timeout(self.seconds):
                await self.app(scope, self._cut(receive), begin)
        except TimeoutError:
            if begun:
                raise
            said = f"this took longer than {self.seconds:g} seconds and was given up"
            await _answer(504, said)(scope, receive, begin)

    def _refused(self, scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if self.local and (asked := headers.get("host")) and not _local(asked):
            return _answer(
                421,
                f"{asked} is no name of this machine's own: expected localhost or 127.0.0.1. A "
                f"proxy before it must say so in the header Host",
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.most_bytes:
            return _answer(413, self._too_large(f"{int(length):,} bytes are too many"))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and scope["path"] == "/predict":
            if not kind and headers.get("content-length", "0") == "0":
                return _answer(400, "nothing was sent: expected one file or more, named images")
            if kind != "multipart/form-data":
                return _answer(
                    415, f"{kind or 'this'}: expected multipart/form-data with files named images"
                )
        return None

    def _too_large(self, what: str) -> str:
        return f"{what}: at most {self.most_bytes:,} are taken at once"

    def _cut(self, receive):
        """`receive` for a body that did not say its length, or said a wrong one."""
        seen = 0

        async def limited():
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most_bytes:
                raise HTTPException(413, self._too_large("these are too many bytes"))
            return message

        return limited

    async def _turn_away(self, refused: JSONResponse, scope, receive, send) -> None:
        async def hold(message) -> None:
            await send({**message, "more_body": True} if "body" in message else message)

        await refused(scope, receive, hold)
        taken, until = 0, time.monotonic() + LINGER
        while taken <= self.most_bytes and (left := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError:
                break
            taken += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _local(host: str) -> bool:
    """Whether a header Host names this machine as it does itself. Any other name that leads a
    browser here may have been made to, by a page that wants to read the answers (DNS rebinding)."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
    except ValueError:
        return False


def _answer(status: int, said: str) -> JSONResponse:
    return JSONResponse({"error": f"{said}."}, status, headers={"Connection": "close"})
