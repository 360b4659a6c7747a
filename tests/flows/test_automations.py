"""What Prefect does by itself, on a real server with its own worker."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.automations import (
    apply_automations,
    automation_of,
    automations,
    is_as,
    named,
    prepare_server,
    put,
    tell_nobody,
)
from flows.pools import apply
from flows.prefect_api import prefect_api
from tests.flows.crew import wait_until
from tests.flows.prefect_cases import PrefectPlace

pytestmark = pytest.mark.slow


@contextmanager
def a_listener() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """An address people are told at, and what it was told."""
    told: list[dict[str, object]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", told
    finally:
        server.shutdown()
        server.server_close()


def test_an_automation_is_as_wanted_in_whatever_order_its_events_come() -> None:
    from uuid import uuid4

    from prefect.events.schemas.automations import Automation

    names = (f"prefect.flow-run.{number}" for number in itertools.count())
    one = next(names)
    other = next(name for name in names if [*{one, name}] != [*{name, one}])  # one slot for both
    wish = next(each for each in automations() if each.name == "lori: failed runs")
    wanted, found = (
        automation_of(replace(wish, event=events), uuid4(), None)
        for events in ((one, other), (other, one))
    )
    assert is_as(Automation(id=uuid4(), **found.model_dump()), wanted)
    less = automation_of(replace(wish, event=(one,)), uuid4(), None)
    assert not is_as(Automation(id=uuid4(), **less.model_dump()), wanted)


def test_automations_made_twice_are_one_and_what_is_off_stays_off(
    prefect_place: PrefectPlace,
) -> None:
    from prefect.events.schemas.automations import AutomationCore

    names = {each.name for each in automations()}
    assert set(prepare_server()) == names
    assert prepare_server() == ()
    with prefect_api() as client:
        [late] = named(client, "lori: stuck late")
        client.pause_automation(late.id)
        double = AutomationCore.model_validate(late.model_dump(exclude={"id"}))
        client.create_automation(double)  # as a second host would at the same moment
        ids = apply(client)
        apply_automations(client, ids, notify_url="http://127.0.0.1:9/hook")
        [kept] = named(client, "lori: stuck late")
        assert kept.id == late.id
        assert not kept.enabled
        assert kept.actions[0].type == "call-webhook"
        assert apply_automations(client, ids) == ()  # the address is kept
        tell_nobody(client)
        apply_automations(client, ids)
        assert named(client, kept.name)[0].actions[0].type == "do-nothing"
        client.resume_automation(kept.id)


def test_an_event_submits_a_file_within_thirty_seconds(
    prefect_place: PrefectPlace, record_property: Callable[[str, object], None]
) -> None:
    prepare_server()
    file = prefect_place.file("by-event")
    with prefect_place.worker():
        sent = prefect_place.emit(
            "lori.task.submitted", "anything.at.all", {"path": str(file), "priority": 5}
        )
        submission, seen = prefect_place.await_submission(file, 60)
    record_property("seconds", seen - sent)
    assert seen - sent < 30
    found = (submission.source, submission.priority, submission.again, submission.submitted_by)
    assert found == ("event", 5, False, "event")


def test_an_event_cannot_have_any_file_read_and_people_are_told_that_it_failed(
    prefect_place: PrefectPlace,
) -> None:
    before = len(prefect_place.submissions())
    with a_listener() as (url, told), prefect_place.worker():
        prepare_server(notify_url=url)
        prefect_place.emit("lori.task.submitted", "x", {"path": "/etc/hostname"})
        wait_until(lambda: bool(told), 60, prefect_place.crew.said)
        with prefect_api() as client:
            tell_nobody(client)
            apply_automations(client, apply(client))
    assert told[0]["automation"] == "lori: failed runs"
    assert told[0]["event"] == "prefect.flow-run.Failed"
    assert len(prefect_place.submissions()) == before


def test_a_refused_version_is_told(prefect_place: PrefectPlace) -> None:
    with a_listener() as (url, told):
        prepare_server(notify_url=url)
        time.sleep(3)  # the server's triggers read automations again
        prefect_place.emit("lori.version.refused", "lori.sequence.s", {"version": 3})
        wait_until(lambda: bool(told), 60, prefect_place.crew.said)
        with prefect_api() as client:
            tell_nobody(client)
            apply_automations(client, apply(client))
    assert told[0]["automation"] == "lori: gate refused"
    assert told[0]["resource"] == "lori.sequence.s"
    assert told[0]["payload"] == {"version": 3}


def test_a_run_that_fell_silent_is_called_crashed(prefect_place: PrefectPlace) -> None:
    from prefect.states import Running

    [lost] = [each for each in automations() if each.follows == "crash"]
    with prefect_api() as client:
        ids = apply(client)
        hasty = replace(lost, name="hasty", silent_for=timedelta(seconds=10))
        put(client, automation_of(hasty, ids["submit-file/default"], None))
        run = client.create_flow_run_from_deployment(
            ids["learn-arrival/default"], parameters={"arrival": 1, "token": 1}
        )
        client.set_flow_run_state(run.id, Running(), force=True)
        time.sleep(3)
        prefect_place.emit_heartbeat(str(run.id))

        def crashed() -> bool:
            state = client.read_flow_run(run.id).state
            return state is not None and state.is_crashed()

        wait_until(crashed, 90, prefect_place.crew.said)
        for each in named(client, "hasty"):
            client.delete_automation(each.id)
