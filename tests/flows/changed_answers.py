"""A stand-in between us and a real server: forwards everything, and changes what it is told to.

Versions and clocks that cannot be had here are only said by it; all else is the server's own answer.
"""

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DROPPED = ("host", "connection", "accept-encoding")


@dataclass(frozen=True)
class Changed:
    """Where it answers, and what it was asked."""

    url: str
    asked: list[str] = field(default_factory=list)
    """`METHOD PATH` of every request, in order."""


@contextmanager
def changed_answers(
    server: str,
    *,
    says: Mapping[str, bytes] | None = None,
    refuses: tuple[str, ...] = (),
    fails: tuple[str, ...] = (),
    busy: tuple[str, ...] = (),
    too_often: tuple[str, ...] = (),
    hangs_up: tuple[str, ...] = (),
    clock: timedelta = timedelta(0),
) -> Iterator[Changed]:
    """Stand before `server` (http://host:port).

    Args:
        says: the body of the answer, by path.
        refuses: `METHOD PATH`s that are answered 403.
        fails: `METHOD PATH`s that are answered 500.
        busy: `METHOD PATH`s that are answered 503 when they are asked first, and not passed on.
        too_often: `METHOD PATH`s that are answered 429, and may be asked again at once.
        hangs_up: `METHOD PATH`s that are not answered.
        clock: how far its Date is off.
    """
    host = server.removeprefix("http://")
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            first = asked.count(f"{self.command} {path}") == 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {k: v for k, v in self.headers.items() if k.lower() not in DROPPED}
            if first and f"{self.command} {path}" in busy:
                self.send_response_only(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            content, status = answer.read(), answer.status
            connection.close()
            if f"{self.command} {path}" in refuses:
                status, content = 403, b"not for you"
            if f"{self.command} {path}" in fails:
                status, content = 500, b"database is locked"
            if f"{self.command} {path}" in too_often:
                status, content = 429, b"slow down"
            if f"{self.command} {path}" in hangs_up:
                return
            content = (says or {}).get(path, content)
            date = parsedate_to_datetime(answer.headers["Date"]) + clock
            self.send_response_only(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Date", format_datetime(date, usegmt=True))
            for name in ("Content-Type", "Location"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *said: object) -> None:
            """Nothing."""

    between = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=between.serve_forever, daemon=True).start()
    try:
        yield Changed(f"http://127.0.0.1:{between.server_port}", asked)
    finally:
        between.shutdown()
        between.server_close()
