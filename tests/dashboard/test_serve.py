import asyncio
import hashlib
import hmac
import json
import socket
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from api_cases import Browser
from fastapi.testclient import TestClient

from dashboard.app import make_app
from dashboard.errands import running
from dashboard.proxy import NO_PROXY, proxy_of
from dashboard.serve import is_loopback, serve
from lori_core.errors import BadInput, CheckFailed
from registry import outbox
from registry.accounts import owner
from registry.clock import now
from registry.desk import Desk
from registry.outbox import add
from registry.store import Registry


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_these_addresses_are_reached_from_here_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.evil.com", "127.1"])
def test_every_other_address_takes_accounts(registry: Registry, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(CheckFailed, match="takes accounts"):
        serve(registry, port=0, host=host)


def test_a_name_beyond_this_machine_takes_accounts_or_a_trusted_proxy(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = proxy_of(["10.0.0.5"], user_header=None, groups_header=None, groups=[])
    with pytest.raises(CheckFailed, match=r"to answer to lori\.example takes accounts"):
        serve(registry, port=0, hosts=["localhost", "lori.example"])
    for hosts, proxy in ((["lori.example"], behind), (["localhost"], NO_PROXY)):
        with pytest.raises(BadInput, match="port"):  # it went on to listen
            serve(registry, port=-1, hosts=hosts, proxy=proxy)


def test_a_port_that_cannot_be_had_is_one_line(registry: Registry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} of 127.0.0.1"):
            serve(registry, port=port)
    for port in (-1, 65536):
        with pytest.raises(BadInput, match="port"):
            serve(registry, port=port)


def test_our_own_bug_shows_no_trace(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Registry) -> tuple[str, ...]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Registry, "sequences", broken)
    app = make_app(registry, token="lori_x", errands=False)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.get("/api/sequences")
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "server: an error of its own; its log says which"},
    )
    assert answer.headers["x-lori-api"] == "1"


def test_the_api_describes_itself_and_loads_nothing_from_elsewhere(registry: Registry) -> None:
    with Browser(registry, "lori_x") as browser:
        paths = browser.get("/openapi.json").json["paths"]
        assert "/api/sequences/{sequence}/promotions" in paths
        assert browser.get("/docs").status == browser.get("/redoc").status == 404
        assert browser.ask("PATCH", "/api/sequences").status == 405
        assert browser.get("/healthz").json["ok"] is True


def test_a_server_whose_registry_was_removed_is_not_well(registry: Registry) -> None:
    with Browser(registry, "lori_x") as browser:
        assert browser.get("/healthz").status == 200
        place = registry.settings.home / "registry.db"
        place.unlink()
        for _ in range(2):  # a new connection leaves an empty file
            gone = browser.get("/healthz")
            assert (gone.status, "Restore it from a backup" in gone.error) == (503, True)
            place.touch()


def test_a_mute_receiver_does_not_hold_the_server_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections, and says nothing
        for name in ("one", "two", "three", "four", "five"):
            add(registry, name, f"http://127.0.0.1:{mute.getsockname()[1]}/{name}")
        Desk(registry, owner()).freeze("assistant", now() + timedelta(hours=1), "holiday")
        with TestClient(make_app(registry, token="lori_x"), base_url="http://localhost"):
            time.sleep(0.5)
            began = time.monotonic()
        assert time.monotonic() - began < 2.5


def test_errands_that_end_by_a_bug_say_so_at_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: object, **options: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(outbox, "deliver", broken)

    async def serve_a_while() -> None:
        async with running(registry):
            deadline = time.monotonic() + 20
            while not caplog.records and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            (record,) = caplog.records
            assert (record.levelname, record.exc_info is not None) == ("CRITICAL", True)

    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(serve_a_while())


def test_messages_are_delivered_signed_while_the_app_runs(registry: Registry) -> None:
    heard: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    secret = add(registry, "ops", f"http://127.0.0.1:{receiver.server_port}/x").secret
    Desk(registry, owner()).freeze("assistant", now() + timedelta(hours=1), "holiday")
    with TestClient(make_app(registry, token="lori_x"), base_url="http://localhost"):
        deadline = time.monotonic() + 20
        while not heard and time.monotonic() < deadline:
            time.sleep(0.05)
    receiver.shutdown()
    ((headers, body),) = heard
    signed = f"{headers['X-Lori-Delivery']}.{headers['X-Lori-Timestamp']}.".encode() + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Lori-Signature"] == f"v1,{expected}"
    assert json.loads(body)["kind"] == "frozen"
