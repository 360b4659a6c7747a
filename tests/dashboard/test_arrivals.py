"""Sending tasks and looking after the queue over the API; who may, and what strangers send."""

import inspect
import json
from datetime import datetime

import pytest
from api_cases import Server

from registry.arrival_records import Arrival, NewTask, Submission
from registry.arrivals import Arrivals
from registry.queueing import Queue
from registry.remote_queue import RemoteQueue
from registry.store import Registry
from registry.wire import from_json

HERE_ONLY = {"watch", "unwatch", "watches"}
"""Folders are watched where they lie."""


def send(registry: Registry, *tasks: str, sequence: str = "assistant") -> list[int]:
    arrivals = Arrivals(registry)
    sent = arrivals.receive({}, source="api", folder=None, submitted_by="tests")
    new = [
        NewTask(
            sequence=sequence,
            task=task,
            document={"guards": []},
            content=f"{sequence}{task}".ljust(64, "0"),
            data={"train": "a" * 64},
            queue="cpu",
        )
        for task in tasks
    ]
    accepted = arrivals.accept(sent.id, new, {})
    return [each.arrival for each in accepted.outcome if each.arrival is not None]


def test_a_submission_is_written_down_for_whoever_dispatches(
    server: Server, registry: Registry
) -> None:
    document = {"sequence": "assistant", "task": {"name": "poems"}}
    answer = server.browser.post(
        "/api/submissions",
        {"document": document, "folder": "/data/in", "priority": 4, "again": True},
        server.token,
    )
    assert answer.status == 200
    found = from_json(Submission, json.dumps(answer.json).encode())
    assert found == Arrivals(registry).received()[0]
    assert (found.source, found.state, found.priority, found.again) == ("api", "received", 4, True)
    assert (found.document, found.folder) == (document, "/data/in")
    assert server.browser.get(f"/api/submissions/{found.id}").json == answer.json
    assert server.browser.get("/api/submissions").json == [answer.json]
    Arrivals(registry).refuse(found.id, "no such file")
    assert server.browser.get(f"/api/submissions/{found.id}").json["reason"] == "no such file"
    assert server.browser.get("/api/submissions/99").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"document": []},
        {"document": {}, "source": "command"},
        {"document": {}, "submitted_by": "root"},
        {"document": {}, "priority": 2**31},
        {"document": {}, "priority": "1"},
        {"document": {}, "folder": 3},
        {"document": {"task": "a\u0000b"}},
        {"document": {}, "folder": "a\u0000b"},
    ],
)
def test_a_submission_that_can_be_none_is_refused(
    server: Server, registry: Registry, body: object
) -> None:
    assert server.browser.post("/api/submissions", body, server.token).status == 400
    assert Arrivals(registry).received() == ()


@pytest.mark.parametrize(
    "raw", [b'{"document": {"a": "\\ud800"}}', b'{"document": {"a": NaN}}', b"[" * 5000]
)
def test_json_that_no_store_holds_is_refused(
    server: Server, registry: Registry, raw: bytes
) -> None:
    answer = server.browser.ask("POST", "/api/submissions", token=server.token, raw=raw)
    assert answer.status == 400
    assert Arrivals(registry).received() == ()


def test_the_queue_is_read_and_changed(server: Server, registry: Registry) -> None:
    browser, token = server.browser, server.token
    first, second = send(registry, "one", "two")
    listed = browser.get("/api/arrivals", sequence="assistant", states="waiting,failed").json
    assert [each["id"] for each in listed] == [first, second]
    assert from_json(Arrival, json.dumps(listed[0]).encode()) == Arrivals(registry).arrival(first)
    assert [each["id"] for each in browser.get("/api/arrivals", last="1").json] == [second]
    assert browser.get("/api/arrivals", states="learned").json == []
    assert browser.get("/api/arrivals", last="1000").status == 200
    assert browser.get("/api/arrivals", last="1001").status == 400
    assert browser.get("/api/submissions", last="1001").status == 400
    assert browser.get("/api/arrivals", states="ready").status == 400
    assert browser.post(f"/api/arrivals/{first}/hold", None, token).json["held"] is True
    assert browser.post(f"/api/arrivals/{first}/release", None, token).json["held"] is False
    assert browser.post(f"/api/arrivals/{first}/cancel", None, token).json["state"] == "cancelled"
    assert browser.post(f"/api/arrivals/{first}/retry", None, token).json["state"] == "waiting"
    assert browser.post(f"/api/arrivals/{first}/retry", None, token).status == 400
    assert browser.get("/api/arrivals/77").status == 404


def test_a_sequence_is_held_and_released_whether_it_learned_or_not(
    server: Server, registry: Registry
) -> None:
    browser, token = server.browser, server.token
    for verb, body in (("hold", {"reason": "lunch"}), ("release", None)):
        assert browser.post(f"/api/sequences/later/{verb}", body, token).status == 404
    send(registry, "one", sequence="later")
    answer = browser.post("/api/sequences/later/hold", {"reason": "lunch"}, token)
    assert (answer.json["sequence"], answer.json["reason"]) == ("later", "lunch")
    assert datetime.fromisoformat(answer.json["created"]).tzinfo is not None
    assert browser.get("/api/queue/held").json == [answer.json]
    assert browser.post("/api/sequences/later/hold", {"reason": "lunch"}, token).status == 400
    assert browser.post("/api/sequences/later/release", None, token).json == {"released": "later"}
    assert browser.get("/api/queue/held").json == []
    assert browser.post("/api/sequences/No Name/hold", {"reason": "x"}, token).status == 400


def test_a_failed_arrival_is_told_to_block_its_sequence(server: Server, registry: Registry) -> None:
    [only] = send(registry, "one")
    [out] = Arrivals(registry).dispatch()
    fence = Arrivals(registry).take(only, out.token, "host:1")
    Arrivals(registry).failed(fence, "no room")
    assert server.browser.get("/api/queue/blocked").json == {"assistant": only}


def test_the_remote_queue_has_the_methods_of_the_local_one() -> None:
    for name, method in inspect.getmembers(Queue, inspect.isfunction):
        if name.startswith("_") or name in HERE_ONLY:
            continue
        there = inspect.signature(getattr(RemoteQueue, name))
        assert there == inspect.signature(method), name


def test_what_is_over_comes_in_bounded_answers_and_what_waits_as_a_whole(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.api.arrivals.MOST", 2)
    ids = send(registry, "poems", "sql", "letters")
    listed = [each["id"] for each in server.browser.get("/api/arrivals").json]
    assert listed == ids[1:]
    waiting = server.browser.get("/api/arrivals", states="waiting").json
    assert [each["id"] for each in waiting] == ids
