"""Every way a registry's server can go wrong is one clear line. Stand-ins answer in its place."""

import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lori_core.errors import BadInput, CheckFailed, LoriError, NotFound
from registry.accounts import TokenRefused
from registry.api_client import ApiClient, NotFoundThere, RefusedThere
from registry.remote import RemoteDesk

Answer = tuple[int, Mapping[str, str], bytes]
OURS = {"x-lori-api": "1", "content-type": "application/json"}


class StandIn(BaseHTTPRequestHandler):
    """Says it is none: whatever the test wants answered."""

    answer: Answer = (200, {}, b"")
    asked: list[tuple[str, str, str | None]]

    def do_GET(self) -> None:
        type(self).asked.append((self.command, self.path, self.headers.get("authorization")))
        status, headers, body = type(self).answer
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], str]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    StandIn.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def answer(answer: Answer) -> str:
        StandIn.answer = answer
        return f"http://127.0.0.1:{server.server_port}"

    yield answer
    server.shutdown()
    server.server_close()


def refusal(url: str, token: str | None = "lori_x") -> LoriError:
    with pytest.raises(LoriError) as found, RemoteDesk(url, token) as desk:
        desk.promote("assistant", 1, reason="because")
    line = str(found.value)
    assert line.isprintable()
    assert len(line) < 1500
    assert type(pickle.loads(pickle.dumps(found.value))) is type(found.value)
    assert str(pickle.loads(pickle.dumps(found.value))) == line
    return found.value


def said(status: int, line: str) -> Answer:
    return status, OURS, json.dumps({"error": line}).encode()


def test_nobody_there_is_said_and_that_it_may_have_been_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = refusal(f"http://127.0.0.1:{port}")
    assert f"registry http://127.0.0.1:{port} does not answer" in str(found)
    assert "It may have been done all the same" in str(found)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ((200, {}, b"<html>hello</html>"), "answered nonsense"),
        ((200, {"x-lori-api": "one"}, b"{}"), "answered nonsense"),
        ((200, {"x-lori-api": "9" * 5000}, b"{}"), "answered nonsense"),
        ((200, {"x-lori-api": "0"}, b"{}"), "version 0 of the API: expected version 1. Update the server"),
        ((200, {"x-lori-api": "2"}, b"{}"), "Update lori-pipeline here"),
        ((200, OURS, b"{}"), "answered nonsense"),
        ((200, OURS, b"\xff\xfe"), "answered nonsense"),
        ((200, OURS, b"[" * 100_000), "answered nonsense"),
        ((200, OURS, b"null"), "answered nonsense"),
        ((200, {**OURS, "content-encoding": "gzip"}, b"no gzip"), "does not answer"),
        ((302, {**OURS, "location": "http://evil/"}, b""), "without an error's line"),
        ((404, {}, b"not here"), "without the API's version"),
        ((400, OURS, b"oops"), "without an error's line"),
        ((400, OURS, b'{"error": 3}'), "without an error's line"),
        (said(500, "server: an error of its own"), "failed (500: server: an error of its own)"),
        (said(503, "the store is away"), "failed (503: the store is away)"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_a_registry_is_said(
    answering: Callable[[Answer], str], answer: Answer, line: str
) -> None:
    found = refusal(answering(answer))
    assert isinstance(found, BadInput)
    assert line in str(found)
    assert len(StandIn.asked) == 1, "nothing is asked twice"


def test_a_servers_sentence_is_the_clients(answering: Callable[[Answer], str]) -> None:
    for status, kind in [(400, RefusedThere), (404, NotFoundThere), (403, CheckFailed), (409, CheckFailed)]:  # fmt: skip
        found = refusal(answering(said(status, "gate: refused: 3 rules")))
        assert (type(found), str(found)) == (kind, "gate: refused: 3 rules")
    assert isinstance(refusal(answering(said(404, "x"))), NotFound)


def test_a_servers_sentence_cannot_write_on_the_terminal(
    answering: Callable[[Answer], str],
) -> None:
    found = refusal(answering(said(400, "a\x1b[2Jb\nc" + "x" * 10_000)))
    assert str(found).startswith("a [2Jb c")


def test_the_token_goes_where_it_belongs_and_into_no_message(
    answering: Callable[[Answer], str],
) -> None:
    found = refusal(answering(said(401, "token (unknown)")), "lori_secret")
    assert isinstance(found, TokenRefused)
    assert "lori_secret" not in str(found)
    assert StandIn.asked[0][2] == "Bearer lori_secret"
    assert "none is set" in str(refusal(answering(said(401, "token")), None))


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///x", "http://[::1", "http://h:99999999", "ftp://h", "", "http://h:x", "x"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="LORI_REGISTRY_URL"):
        ApiClient(url, None)


def test_the_password_of_an_address_is_not_shown() -> None:
    found = refusal("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(found)
