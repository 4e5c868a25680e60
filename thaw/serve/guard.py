"""Check the host, size, content type and duration of requests before their bodies are read."""

import asyncio
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thaw.serve.server import is_loopback

# Seconds for which the rest of a rejected body is read and discarded. If the connection closes
# while the client still sends, the client loses the response.
DRAIN_SECONDS = 2.0
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Guard:
    """ASGI middleware that rejects requests which the application should not see.

    Args:
        app: the application.
        max_bytes: the largest request body.
        seconds: the longest time from the first line of a request to its response.
        local: serve this machine only. Requests with other Host names are rejected.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float, local: bool) -> None:
        self.app, self.max_bytes, self.seconds, self.local = app, max_bytes, seconds, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                pairs = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *pairs]
            await send(message)

        if rejection := self._reject(scope):
            await self._send_rejection(rejection, scope, receive, send_with_headers)
            return
        try:
            async with asyncio.timeout(self.seconds):
                await self.app(scope, self._limit(receive), send_with_headers)
        except TimeoutError:
            if started:
                raise
            message = f"the request took longer than {self.seconds:g} seconds and was cancelled"
            await _error(504, message)(scope, receive, send_with_headers)

    def _reject(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if self.local and (host := headers.get("host")) and not _is_local(host):
            return _error(
                421,
                f"the Host header is {host}. Expected localhost or a loopback address such as "
                f"127.0.0.1. A proxy in front of this server must set the header so",
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            return _error(413, self._too_large(f"{int(length):,}"))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and scope["path"] == "/predict":
            if not kind and headers.get("content-length", "0") == "0":
                return _error(400, "the request is empty. Expected files in the field images")
            if kind != "multipart/form-data":
                return _error(
                    415,
                    f"the content type is {kind or 'missing'}. Expected multipart/form-data with "
                    f"files in the field images",
                )
        return None

    def _too_large(self, count: str) -> str:
        return f"the request has {count} bytes. At most {self.max_bytes:,} are accepted"

    def _limit(self, receive: Receive) -> Receive:
        """Return `receive` with a size limit for bodies whose length is missing or wrong."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise HTTPException(413, self._too_large("too many"))
            return message

        return limited

    async def _send_rejection(
        self, rejection: JSONResponse, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def keep_open(message: Message) -> None:
            await send({**message, "more_body": True} if "body" in message else message)

        await rejection(scope, receive, keep_open)
        size, end = 0, time.monotonic() + DRAIN_SECONDS
        while size <= self.max_bytes and (left := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError:
                break
            size += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_local(host: str) -> bool:
    """Return whether a Host header has a loopback name.

    A page elsewhere may let its own name resolve to this machine to read the responses (DNS
    rebinding). The browser then sends that name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
    except ValueError:
        return False


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": f"{message}."}, status, headers={"Connection": "close"})
