"""`lori dashboard`: the app on a port, until a signal ends it."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from dashboard.app import LOOPBACK, make_app
from dashboard.links import find_links
from dashboard.live import Live
from dashboard.proxy import NO_PROXY, Proxy
from lori_core.errors import BadInput, CheckFailed
from registry.accounts import accounts_exist, new_secret
from registry.store import Registry

GRACE_SECONDS = 10
"""How long requests that are being answered may take when the server is told to end."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which raise the signal once more at the end."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the open streams, which would be waited for, and then as ever."""
        self._live.end()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set already."""
        yield


def serve(
    registry: Registry,
    *,
    port: int,
    host: str = "127.0.0.1",
    hosts: Collection[str] = (),
    token: str | None = None,
    proxy: Proxy = NO_PROXY,
) -> None:
    """Serve a registry until SIGINT or SIGTERM; then end the open requests and return.

    Prints `dashboard URL`, once it answers, and `token TOKEN` while the registry has no account:
    whoever bears it may write.

    Args:
        registry: what is served.
        port: 0 takes a free one.
        host: address to listen on. Only where people are known, by accounts or by a proxy, may it be
            another than loopback.
        hosts: further names that requests may be addressed to (behind a proxy, in a cluster).
        token: what may write while there is no account, kept by the caller, so that it is not printed;
            None makes one.
        proxy: who is believed about who comes.

    Raises:
        BadInput: the port is taken or none.
        CheckFailed: another address than loopback, or a name that is none of this machine's alone
            with nothing trusted in front, and nobody has an account.
    """
    local = is_loopback(host)
    guarded = proxy.knows_people or accounts_exist(registry)
    if not local and not guarded:
        raise CheckFailed(
            "accounts",
            f"to listen on {host} takes accounts; make an admin first (`lori accounts`)",
        )
    bearer = (token or new_secret()) if local and not guarded else None
    elsewhere = [each for each in hosts if not is_loopback(each)]
    if elsewhere and not guarded and not proxy.networks:
        raise CheckFailed(
            "accounts",
            f"to answer to {elsewhere[0]} takes accounts, for who speaks to it is not on this machine;"
            " make an admin first (`lori accounts`)",
        )
    find_links(registry.settings)  # what is misspelt there is said now, not on a page
    listening = _listen(host, port)
    app = make_app(registry, hosts={*LOOPBACK, _named(host), *hosts}, token=bearer, proxy=proxy)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=200,
    )
    url = f"http://{_named(host)}:{listening.getsockname()[1]}"
    with listening:
        told = bearer if token is None else None
        asyncio.run(_run(_Server(config, app.state.live), listening, url, told))


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


async def _run(server: _Server, listening: socket.socket, url: str, token: str | None) -> None:
    with _ended_by_signals(server):
        answering = asyncio.create_task(server.serve([listening]))
        while not server.started and not answering.done():
            await asyncio.sleep(0.01)
        if server.started:
            print(f"dashboard {url}", flush=True)  # noqa: T201  the result of the command
            if token is not None:
                print(f"token {token}", flush=True)  # noqa: T201
        await answering


@contextmanager
def _ended_by_signals(server: _Server) -> Iterator[None]:
    """Our own handlers, even where a shell started us with SIGINT ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def leave(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    for number in before:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise BadInput(f"port {port}", "a port from 0 (any free one) to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        listening.close()
        raise BadInput(
            f"port {port} of {host} ({error.strerror})", "a free one", "0 takes any."
        ) from error
    return listening


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
