"""A server on this machine that behaves as badly as servers do."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stages.sources import fetch


class Server:
    """Serves `files` by path. What it was asked for is in `asked`, as (path, Range or None).

    Attributes:
        breaks: at so many bytes the next answers break off, one after the other.
        ranges: whether it knows about them.
        silent: whether it takes questions and never answers.
        status: what it answers instead, one after the other.
        redirect: where it sends the first that asks.
        says_length: whether it tells how long a file is.
        length: what it tells of that, if it lies.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.breaks: list[int] = []
        self.status: list[int] = []
        self.ranges, self.silent, self.says_length = True, False, True
        self.redirect: str | None = None
        self.length: str | None = None
        self.ended = threading.Event()
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                served.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append((request.path[1:], wanted))
        if self.silent:
            self.ended.wait(30)
            return
        if self.redirect:
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.send_header("Content-Length", "0")
            request.end_headers()
            self.redirect = None
            return
        content = self.files.get(request.path[1:])
        if self.status or content is None:
            request.send_error(self.status.pop(0) if self.status else 404)
            return
        start = 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(content)}")
                request.end_headers()
                return
            request.send_response(206)
            last = f"{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", f"bytes {start}-{last}")
        else:
            request.send_response(200)
        if self.says_length:
            request.send_header("Content-Length", self.length or str(len(content) - start))
        request.end_headers()
        end = self.breaks.pop(0) if self.breaks else len(content)
        request.wfile.write(content[start:end])

    def close(self) -> None:
        self.ended.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server, and a store of one's own, in which nothing waits long."""
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch, "PAUSE", 0.01)
    monkeypatch.setattr(fetch, "_absent", {})
    served = Server()
    yield served
    served.close()
