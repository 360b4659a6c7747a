"""`lori up`: everything a home needs on one host, from one process that looks after it.

`HOME/up.lock` is held for as long as it runs, `HOME/services.json` tells every other command where
the services answer (`registry.known_services`), and `HOME/logs` has a log of each.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from flows.not_started import ServiceNotStarted
from flows.prefect_server import begin_again_if_half_made, remember_it_is_made, start_lock
from flows.processes import ProcessIdentity, end, myself
from flows.room import require_room
from flows.services import PREFECT_VARIABLE, Ports, Service, answers, services_of
from flows.supervisor import Kept, keep, supervised
from flows.up_dashboard import TOKEN_VARIABLE
from lori_core.digests import write_json
from lori_core.errors import BadInput, Unavailable
from registry.home import open_lock, prepare_home, try_lock
from registry.known_services import FILE, LOCK
from registry.settings import find_settings, without_password

LOCK_SECONDS = 2.0
"""Other commands look at the lock for an instant, by holding it together."""


def up(
    home: Path,
    ports: Ports,
    *,
    gpus: str | None = None,
    limit: int | None = None,
    result: Callable[[str], None],
    note: Callable[[str], None],
) -> None:
    """Keep a home's services running until a signal's exception ends them all.

    Args:
        home: the home folder, made where it is missing.
        ports: where the services listen.
        gpus: devices of the worker, as `lori worker` takes them.
        limit: tasks the worker runs side by side.
        result: told `NAME URL healthy` as each service answers, and `token TOKEN` where that may
            write.
        note: told what is no result: where everything lies, what died.

    Raises:
        BadInput: a port is taken, a store's URL is none we can use.
        Unavailable: another process keeps this home's services, the home cannot be written, a
            server that the environment names does not answer, or a service does not start.
    """
    prepare_home(home)
    require_room(home)
    with ExitStack() as stack:
        stack.enter_context(only_one(home))
        settings = find_settings(home)
        services = services_of(home, settings, ports.taken(), gpus=gpus, limit=limit)
        _refuse_silent(services)
        stack.callback(lambda: (home / FILE).unlink(missing_ok=True))
        kept = stack.enter_context(supervised(services, home))
        starting = stack.enter_context(_prefect_start(home, services))
        told = _Teller(home, kept, result, note, starting)
        told.changed()
        note(f"home {home}; logs in {home / 'logs'}")
        try:
            keep(kept, say=told.say, changed=told.changed)
        except ServiceNotStarted as error:
            raise Unavailable(
                str(error), "services that start", "Mend it and try again."
            ) from error


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold a home's services for one supervisor; end what a killed one left.

    Raises:
        BadInput: another one keeps them now.
    """
    lock = open_lock(home / LOCK)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not try_lock(lock):
            if time.monotonic() > deadline:
                raise BadInput(
                    f"home {home}: process {_owner(home)} keeps its services running",
                    "one `lori up` for a home",
                    "Use that one, or end it.",
                )
            time.sleep(0.05)
        for left in _recorded(home):
            end(left)
        (home / FILE).unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


@contextmanager
def hangup_ends_this() -> Iterator[None]:
    """A closed terminal ends everything in order too, unless (`nohup`) it is to be ignored."""
    before = signal.getsignal(signal.SIGHUP)

    def leave(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    if before is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class _Teller:
    """Tells people and other commands how the services are."""

    def __init__(
        self,
        home: Path,
        kept: Sequence[Kept],
        result: Callable[[str], None],
        note: Callable[[str], None],
        prefect_is_made: Callable[[], None],
    ) -> None:
        self._home, self._kept = home, kept
        self._result, self._note = result, note
        self._prefect_is_made = prefect_is_made
        self._began = time.monotonic()
        self._ready = False

    def say(self, line: str) -> None:
        """One line of the supervisor's."""
        (self._result if line.endswith(" healthy") else self._note)(line)
        if line.startswith("prefect ") and line.endswith(" healthy"):
            self._prefect_is_made()

    def changed(self) -> None:
        """A process was started, or became healthy, or died."""
        ready = self._ready or all(each.healthy for each in self._kept)
        self._remember(ready)
        if ready and not self._ready:
            self._ready = True
            if (token := _token(self._kept)) is not None:
                self._result(f"token {token}")
            took = time.monotonic() - self._began
            self._note(f"all healthy after {took:.0f} s; Ctrl-C ends them all")

    def _remember(self, ready: bool) -> None:
        services = {
            each.service.name: {
                "url": each.service.url,
                "ours": each.service.ours,
                "healthy": each.healthy,
                "process": each.identity.as_json() if each.identity else None,
                "log": str(each.log) if each.service.ours else None,
            }
            for each in self._kept
            if not each.service.once
        }
        write_json(
            self._home / FILE,
            {
                "host": socket.gethostname(),
                "supervisor": asdict(myself("up")),
                "ready": ready,
                "services": services,
            },
        )


@contextmanager
def _prefect_start(home: Path, services: Sequence[Service]) -> Iterator[Callable[[], None]]:
    """Nobody else migrates Prefect's store meanwhile; yields what is called once it is healthy."""
    (prefect,) = [each for each in services if each.name == "prefect"]
    if not prefect.ours:
        yield lambda: None
        return
    with ExitStack() as stack:
        stack.enter_context(start_lock(home))
        begin_again_if_half_made(home)

        def made() -> None:
            remember_it_is_made(home)
            stack.close()

        yield made


def _refuse_silent(services: Sequence[Service]) -> None:
    """A server that the environment names must be there already."""
    for each in services:
        if not each.ours and not each.healthy(datetime.now(UTC)):
            variable = PREFECT_VARIABLE if each.name == "prefect" else "MLFLOW_TRACKING_URI"
            raise Unavailable(
                f"{each.name} at {without_password(each.url)}",
                "a server that answers",
                f"Start it, or unset {variable} to have one started here.",
            )


def _token(kept: Sequence[Kept]) -> str | None:
    """The token that may write; None where accounts say who may."""
    (dashboard,) = [each.service for each in kept if each.service.name == "dashboard"]
    token = dashboard.environment[TOKEN_VARIABLE]
    return token if answers(f"{dashboard.url}/api/sequences", bearer=token) else None


def _recorded(home: Path) -> list[ProcessIdentity]:
    """The services' processes as the last supervisor left them on record."""
    try:
        services = json.loads((home / FILE).read_text(encoding="utf-8"))["services"]
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    rows = [each["process"] for each in services.values() if each["process"]]
    return [ProcessIdentity.from_json(row) for row in rows]


def _owner(home: Path) -> str:
    try:
        content = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return "?"
    return str(content["supervisor"]["pid"])
