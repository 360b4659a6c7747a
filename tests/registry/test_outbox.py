import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from decision_cases import ADA
from sqlalchemy import select

from lori_core.errors import BadInput, NotFound
from registry import outbox
from registry.decision_models import WebhookRow
from registry.desk import Desk
from registry.lineage import known_sequence
from registry.store import Registry

NOW = datetime(2100, 1, 1, tzinfo=UTC)
URL = "http://127.0.0.1:9/hook"


def tell(registry: Registry, kind: str = "applied", **payload: object) -> None:
    with registry._database.writing() as session:
        outbox.enqueue(session, known_sequence(session, "assistant"), kind, payload)


class Receiver:
    """Answers with the next status, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[str, bytes, Mapping[str, str]]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.got.append((url, body, headers))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            raise ConnectionRefusedError("nobody is there")
        return status


def test_a_message_is_delivered_once_where_the_other_side_takes_it(registry: Registry) -> None:
    outbox.add(registry, "chat", URL)
    tell(registry, version=3)
    receiver = Receiver(200)
    (sent,) = outbox.deliver(registry, NOW, receiver)
    assert (sent.attempts, sent.delivered, sent.last_error) == (1, NOW, None)
    assert outbox.deliver(registry, NOW + timedelta(days=1), receiver) == ()
    assert len(receiver.got) == 1
    body = json.loads(receiver.got[0][1])
    assert (body["id"], body["kind"], body["data"]) == (sent.id, "applied", {"version": 3})


def test_the_signature_is_the_hmac_of_delivery_timestamp_and_body(registry: Registry) -> None:
    made = outbox.add(registry, "chat", URL)
    tell(registry)
    receiver = Receiver(204)
    outbox.deliver(registry, NOW, receiver)
    _, body, headers = receiver.got[0]
    signed = f"{headers['X-Lori-Delivery']}.{headers['X-Lori-Timestamp']}.".encode() + body
    expected = hmac.new(made.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Lori-Signature"] == f"v1,{expected}"
    assert int(headers["X-Lori-Timestamp"]) == int(NOW.timestamp())


def test_a_refused_message_comes_again_at_growing_intervals_until_it_is_taken(
    registry: Registry,
) -> None:
    outbox.add(registry, "chat", URL)
    tell(registry)
    receiver = Receiver(500, 0, 301, 200)
    moment, waits, errors = NOW, [], []
    while True:
        (sent,) = outbox.deliver(registry, moment, receiver)
        if sent.delivered:
            break
        errors.append(sent.last_error)
        waits.append(sent.next_attempt - moment)
        assert outbox.deliver(registry, sent.next_attempt - timedelta(seconds=1), receiver) == ()
        moment = sent.next_attempt
    assert errors == ["answered 500", "nobody is there", "answered 301"]
    assert waits == [timedelta(seconds=seconds) for seconds in (10, 20, 40)]
    assert len({headers["X-Lori-Delivery"] for _, _, headers in receiver.got}) == 1
    assert outbox.undelivered(registry) == ()


def test_the_wait_grows_to_six_hours_and_no_further() -> None:
    assert outbox.wait_after(1) == timedelta(seconds=10)
    assert outbox.wait_after(12) == timedelta(seconds=20480)
    assert outbox.wait_after(13) == outbox.wait_after(100_000) == timedelta(hours=6)


def test_one_receiver_that_is_down_delays_no_other(registry: Registry) -> None:
    outbox.add(registry, "down", "http://down.example/")
    outbox.add(registry, "up", "http://up.example/")
    tell(registry)

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        return 200 if "up" in url else 503

    outbox.deliver(registry, NOW, post)
    assert [waiting.webhook for waiting in outbox.undelivered(registry)] == ["down"]


def test_a_mute_receiver_is_asked_once_and_starves_nobody_behind_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 3)
    outbox.add(registry, "mute", "http://mute.example/")
    for _ in range(4):  # more than a batch, all of them before the others'
        tell(registry)
    outbox.add(registry, "up", "http://up.example/", kinds=["drift"])
    tell(registry, "drift")
    asked = []

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        asked.append(url)
        if "mute" in url:
            raise TimeoutError("timed out")
        return 200

    for _ in range(2):
        outbox.deliver(registry, NOW, post)
    assert asked == ["http://mute.example/", "http://up.example/"]
    waiting = outbox.undelivered(registry)
    assert {(each.webhook, each.next_attempt - NOW) for each in waiting} == {
        ("mute", timedelta(seconds=10))
    }
    assert sorted(each.attempts for each in waiting) == [0, 0, 0, 0, 1]


def test_who_leaves_stops_between_two_messages(registry: Registry) -> None:
    outbox.add(registry, "chat", URL)
    for _ in range(3):
        tell(registry)
    receiver = Receiver(200)
    outbox.deliver(registry, NOW, receiver, leaving=lambda: len(receiver.got) == 1)
    assert len(receiver.got) == 1
    assert len(outbox.undelivered(registry)) == 2


def test_a_url_that_got_in_before_it_was_refused_stops_no_other(registry: Registry) -> None:
    for name in ("a-path", "b-host", "good"):
        outbox.add(registry, name, URL)
    with registry._database.writing() as session:
        rows = {row.name: row for row in session.scalars(select(WebhookRow))}
        rows["a-path"].url = "http://127.0.0.1:9/\u00fc"
        rows["b-host"].url = f"http://{'a' * 70}.example/"
    tell(registry)
    sent = outbox.deliver(registry, NOW)
    assert {each.webhook: each.attempts for each in sent} == {"a-path": 1, "b-host": 1, "good": 1}
    assert all(each.last_error for each in sent)


def test_who_dies_after_sending_sends_again(registry: Registry) -> None:
    outbox.add(registry, "chat", URL)
    tell(registry)
    receiver = Receiver(200)

    def killed(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        receiver(url, body, headers)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox.deliver(registry, NOW, killed)
    outbox.deliver(registry, NOW, receiver)
    first, second = (headers["X-Lori-Delivery"] for _, _, headers in receiver.got)
    assert first == second


def test_a_webhook_gets_the_kinds_it_asked_for_from_when_it_was_made(registry: Registry) -> None:
    tell(registry, "applied")
    outbox.add(registry, "alarms", URL, kinds=["drift", "failed"])
    tell(registry, "applied")
    tell(registry, "drift")
    assert [waiting.kind for waiting in outbox.undelivered(registry)] == ["drift"]


def tell_and_fail(registry: Registry) -> None:
    with registry._database.writing() as session:
        outbox.enqueue(session, None, "applied", {})
        raise RuntimeError


def test_a_change_that_fails_tells_nobody(registry: Registry) -> None:
    outbox.add(registry, "chat", URL)
    with pytest.raises(RuntimeError):
        tell_and_fail(registry)
    assert outbox.undelivered(registry) == ()


def test_a_removed_webhook_is_told_nothing_more_and_may_come_back(registry: Registry) -> None:
    outbox.add(registry, "chat", URL)
    tell(registry)
    outbox.remove(registry, "chat")
    assert outbox.webhooks(registry) == ()
    assert outbox.deliver(registry, NOW, Receiver(200)) == ()
    with pytest.raises(NotFound):
        outbox.remove(registry, "chat")
    again = outbox.add(registry, "chat", "https://example.org/new", kinds=["applied"])
    assert outbox.webhooks(registry) == (again.webhook,)
    assert again.webhook.url == "https://example.org/new"


@pytest.mark.parametrize(
    ("name", "url", "kinds", "secret"),
    [
        ("../up", URL, [], None),
        ("chat", "ftp://example.org/", [], None),
        ("chat", "file:///etc/passwd", [], None),
        ("chat", "http://", [], None),
        ("chat", "http://example.org:notaport/", [], None),
        ("chat", "http://example.org/\r\nX: y", [], None),
        ("chat", "http://example.org/" + "a" * 3000, [], None),
        ("chat", "http://127.0.0.1:9/\u00fc", [], None),
        ("chat", "http://b\u00fccher.example/", [], None),
        ("chat", f"http://{'a' * 70}.example/", [], None),
        ("chat", "http://a..example/", [], None),
        ("chat", URL, ["birthday"], None),
        ("chat", URL, [], "short"),
    ],
)
def test_a_webhook_that_could_not_be_told_is_refused(
    registry: Registry, name: str, url: str, kinds: list[str], secret: str | None
) -> None:
    with pytest.raises(BadInput):
        outbox.add(registry, name, url, kinds=kinds, secret=secret)
    assert outbox.webhooks(registry) == ()


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response({"/ok": 202, "/moved": 302}.get(self.path, 500))
            self.send_header("Location", "/ok")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", seen
    http.shutdown()
    http.server_close()


def test_over_http_a_redirect_is_no_delivery(server: tuple[str, list[str]]) -> None:
    root, seen = server
    assert outbox.post_by_http(f"{root}/ok", b"{}", {}) == 202
    assert outbox.post_by_http(f"{root}/moved", b"{}", {}) == 302
    assert outbox.post_by_http(f"{root}/broken", b"{}", {}) == 500
    assert seen == ["/ok", "/moved", "/broken"]


def test_over_http_nobody_there_is_told_as_such(registry: Registry) -> None:
    outbox.add(registry, "chat", URL)
    tell(registry)
    (sent,) = outbox.deliver(registry, NOW)
    assert sent.delivered is None
    assert "refused" in str(sent.last_error)


def test_every_kind_that_can_be_told_can_be_asked_for(registry: Registry) -> None:
    kinds = ["arrival-failed", "arrival-stuck", "gate-refused", "applied", "drift"]
    assert outbox.add(registry, "all", URL, kinds=kinds).webhook.kinds == tuple(kinds)
    with pytest.raises(BadInput, match="kind 'arrival-lost': expected one of"):
        outbox.add(registry, "all", URL, kinds=["arrival-lost"])


def test_a_version_that_its_gate_refuses_is_told_of_once_with_the_rules_that_refuse_it(
    four: Registry, home: Path
) -> None:
    outbox.add(four, "us", URL, kinds=["gate-refused"])
    assert Desk(four, ADA).gate("assistant", 1).ok
    assert outbox.undelivered(four) == ()
    (home / "cells" / "assistant-t02-1.jsonl").unlink()
    refused = Desk(four, ADA).gate("assistant", 2)
    Desk(four, ADA).gate("assistant", 2)
    receiver = Receiver(200)
    outbox.deliver(four, NOW, receiver)
    (body,) = [json.loads(body) for _, body, _ in receiver.got]
    assert body["data"] == {
        "sequence": "assistant",
        "version": 2,
        "rules": [rule.rule for rule in refused.rules if not rule.ok],
        "by": "ada",
    }
