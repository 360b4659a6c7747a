"""What every request passes before anything of ours reads it, and every answer on its way out.

The Host header must be one of ours: a page elsewhere cannot reach a server on loopback under a name of
its own. The body must be small, and arrive in time. HEAD is answered like GET, without the body.
"""

import asyncio
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.refusals import ALWAYS, Refuse

LARGEST_BODY = 256 * 1024
BODY_SECONDS = 20.0
_NO_HEAD = ("/live", ".zip")
"""Ends of paths whose answer never ends or is made on demand: HEAD would do all of it for nothing."""


class Door:
    """ASGI middleware: refuses strangers' hosts and large or slow bodies, and signs every answer."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        head = scope["method"] == "HEAD" and not scope["path"].endswith(_NO_HEAD)

        async def signed(message: Message) -> None:
            if head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if host_of(headers.get("host", "")) not in self._hosts:
            line = "host: expected one this server was started for"
            answer = self._refuse(Request(scope), 400, line)
            await answer(scope, receive, signed)
            return
        body = await _small_body(headers, receive)
        if body is None:
            line = f"body: expected at most {LARGEST_BODY} bytes, sent without delay"
            answer = self._refuse(Request(scope), 413, line)
            await answer(scope, receive, signed)
            return
        if head:
            scope = {**scope, "method": "GET"}
        await self._app(scope, _replay(body, receive), signed)


def host_of(header: str) -> str:
    """The host of a Host header, without its port; `[::1]` keeps its brackets."""
    if header.startswith("["):
        host, bracket, rest = header.partition("]")
        port = rest
        host += bracket
    else:
        host, colon, number = header.partition(":")
        port = colon + number
    plain = port == "" or (port[0] == ":" and port[1:].isascii() and port[1:].isdigit())
    return host.lower() if plain else ""


async def _small_body(headers: Headers, receive: Receive) -> bytes | None:
    said = headers.get("content-length", "0")
    if not (said.isascii() and said.isdigit() and len(said) < 12 and int(said) <= LARGEST_BODY):
        return None
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > LARGEST_BODY:
                    return None
                more = message.get("more_body", False)
    except TimeoutError:
        return None
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()  # a disconnect, once there is one
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
