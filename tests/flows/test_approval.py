import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import lori
from registry.accounts import TOKEN_VARIABLE
from registry.arrivals import Arrivals
from registry.home import HOME_VARIABLE
from registry.settings import REGISTRY_VARIABLE
from tests.flows.crew import TRAINER, Crew, Member, a_crew, wait_until
from tests.flows.tiny import write_sequence

LENIENT = "gate: {underpowered: warn}"
"""Sixteen rows prove little."""
IMPOSSIBLE = "gate: {min_learning: 1.0}"


@pytest.mark.slow
def test_a_request_outlasts_every_service_and_a_second_person_makes_it_the_champion(
    tmp_path: Path,
    prefect_store: Path,
) -> None:
    """With a worker that may not promote; with one that may, `auto` needs nobody."""
    with (
        a_crew(tmp_path, prefect_store) as crew,
        crew.registry() as registry,
        _receiver() as (url, heard),
    ):
        say = Desk(crew, _token(Desk(crew).done("accounts", "first", "ada")))
        tom, ben = say.other("tom", "trainer"), say.other("ben", "reviewer")
        say.done("webhooks", "add", "chat", url, "--kind", "gate-refused", "--kind", "requested")
        worker = _worker(crew, "worker-1", say.other("machine", "trainer"))
        asks = tom.submit(_file(tmp_path, "asks", "color", "approval", LENIENT))
        fails = say.submit(_file(tmp_path, "fails", "size", "auto", IMPOSSIBLE))
        states = {asks: "waiting", fails: "waiting"}

        def learned(*arrivals: int) -> bool:
            found = [Arrivals(registry).arrival(each) for each in arrivals]
            states.update({each.id: f"{each.state} {each.reason}" for each in found})
            return all(each.state == "learned" for each in found)

        wait_until(lambda: learned(asks, fails), 120, crew.said)

        # It waits, and nothing waits with it
        [request] = say.json("pending")
        wait_until(lambda: not psutil.Process(worker.pid).children(), 30, crew.said)
        assert _open_runs(crew) == []
        worker.stop()
        crew.prefect.stop()
        crew.start_prefect()
        worker = _worker(crew, "worker-2", say)
        serves = say.submit(_file(tmp_path, "serves", "color", "auto", LENIENT))
        assert say.json("pending") == [request]
        assert request["requested_by"] == "machine"
        assert say.json("history", "asks")[0]["status"] == "requested"
        assert say.standing("asks") == {"champion": None, "candidate": 1}

        assert tom.exit_code("approve", request["id"], "--reason", "mine") == 1
        ben.done("approve", request["id"], "--reason", "read the answers")
        [row] = say.json("history", "asks")
        assert (row["status"], row["to_version"]) == ("applied", 1)
        assert (row["requested_by"], row["approved_by"]) == ("machine", "ben")
        assert "ben" in say.done("history", "asks")
        assert say.standing("asks") == {"champion": 1, "candidate": 1}

        # Refused by its gate: kept, marked, told
        [kept] = say.json("versions", "fails")
        assert (kept["state"], kept["gate"]["ok"]) == ("registered", False)
        assert say.standing("fails") == {"champion": None, "candidate": None}
        assert "delivered, 0 to be sent again" in say.done("webhooks", "deliver")
        [refused] = [each["data"] for each in heard if each["kind"] == "gate-refused"]
        assert (refused["sequence"], refused["version"]) == ("fails", 1)
        assert "asks" in {each["data"]["sequence"] for each in heard if each["kind"] == "requested"}

        # Promoted by itself
        wait_until(lambda: learned(serves), 120, crew.said)
        assert say.standing("serves") == {"champion": 1, "candidate": 1}
        [row] = say.json("history", "serves")
        assert (row["status"], row["requested_by"], row["approved_by"]) == ("applied", "ada", None)
        worker.stop()


class Desk:
    """The commands, in the hands of one person."""

    def __init__(self, crew: Crew, token: str | None = None) -> None:
        self._crew, self.token = crew, token

    def done(self, *arguments: object) -> str:
        """What a command that must succeed says."""
        code, said = self._run(arguments)
        assert code == 0, said
        return said

    def exit_code(self, *arguments: object) -> int:
        return self._run(arguments)[0]

    def json(self, *arguments: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.done(*arguments, "--json"))
        return found

    def standing(self, sequence: str) -> dict[str, int | None]:
        """What its aliases point at."""
        [found] = self.json("status", sequence)
        return {alias: found[alias] for alias in ("champion", "candidate")}

    def submit(self, file: Path) -> int:
        """The number of the arrival that a file with one task becomes."""
        self.done("submit", file)
        with self._crew.registry() as registry:
            return Arrivals(registry).arrivals()[-1].id

    def other(self, name: str, role: str) -> "Desk":
        """Make an account; an admin may."""
        self.done("accounts", "add", name, "--role", role)
        return Desk(self._crew, _token(self.done("accounts", "token", name)))

    def _run(self, arguments: tuple[object, ...]) -> tuple[int, str]:
        environment = {
            HOME_VARIABLE: str(self._crew.home),
            TOKEN_VARIABLE: self.token,
            REGISTRY_VARIABLE: None,
        }
        answer = CliRunner().invoke(lori, [str(each) for each in arguments], env=environment)
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer
        return answer.exit_code, answer.stdout if answer.exit_code == 0 else answer.output


def _worker(crew: Crew, name: str, account: Desk) -> Member:
    """A worker that acts as an account."""
    assert account.token is not None
    crew.more = {TOKEN_VARIABLE: account.token}
    return crew.worker(name, TRAINER)


def _token(said: str) -> str:
    return next(word for word in said.split() if word.startswith("lori_"))


def _file(folder: Path, name: str, task: str, promotion: str, gate: str) -> Path:
    more = f"promotion: {promotion}\n{gate}"
    return write_sequence(folder, (task,), f"{name}.yaml", name=name, more=more)


def _open_runs(crew: Crew) -> list[str]:
    """Flow runs that are not over."""
    with temporary_settings({PREFECT_API_URL: crew.url}), get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
    assert runs
    return [run.name for run in runs if run.state is None or not run.state.is_final()]


@contextmanager
def _receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Somebody's webhook: its URL, and the messages it got."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", heard
        finally:
            server.shutdown()
