"""Real servers and workers for the tests of the orchestrator, each a process that can be killed and restarted."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from flows.bound import bound_command
from flows.prefect_server import embedded_settings, free_port, server_command
from registry.store import Registry, open_registry
from tests.made_once import copy_prefect_store

ROOT = Path(__file__).parents[2]
STAND_IN = (sys.executable, "-m", "tests.flows.stand_in", "worker")
TRAINER = (sys.executable, "-m", "tests.flows.stand_in", "trainer")


@dataclass
class Member:
    """One process of the crew."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                bound_command(*self.command),  # nothing outlives a test that is killed
                env=dict(self.environment),
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> list[psutil.Process]:
        """kill -9; what it had started comes back."""
        assert self.process is not None
        family = psutil.Process(self.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        return family

    def stop(self, number: int = signal.SIGTERM, *, within: float = 30) -> float:
        """End it politely; the seconds that took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=within)
        return time.monotonic() - began

    def end(self) -> None:
        """Whatever it takes."""
        if self.process is None or self.process.poll() is not None:
            return
        for each in self.kill():
            if each.is_running():
                each.kill()


@dataclass
class Crew:
    """A home, a Prefect server, and workers."""

    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)
    """Environment of everybody: stores elsewhere than in the home."""
    members: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.home.mkdir(parents=True, exist_ok=True)
        self.prefect = self._member(
            "prefect",
            *server_command(self.port),
            environment={
                **self.environment,
                "PREFECT_UI_ENABLED": "false",
                "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
                "PREFECT__SERVER_FINAL": "1",
            },
        )

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **embedded_settings(self.home),
            "PREFECT_API_URL": self.url,
            "LORI_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            **self.more,
        }

    def registry(self) -> Registry:
        return open_registry(self.home)

    def start_prefect(self) -> None:
        self.prefect.start()
        wait_until(lambda: _healthy(self.url), 180, self.said)

    def worker(self, name: str, command: tuple[str, ...] = STAND_IN) -> Member:
        member = self._member(name, *command, name, environment=self.environment)
        member.start()
        return member

    def _member(self, name: str, *command: str, environment: Mapping[str, str]) -> Member:
        member = Member(command, environment, self.folder / f"{name}.log")
        self.members.append(member)
        return member

    def said(self) -> str:
        """The ends of all logs, for a test that failed."""
        logs = [each.log for each in self.members if each.log.exists()]
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in logs
        )


@contextmanager
def a_crew(
    folder: Path, store: Path | None = None, *, more: Mapping[str, str] | None = None
) -> Iterator[Crew]:
    """A running Prefect server and whoever joins; nothing of it is left afterwards.

    Prefect makes its own store, or begins with a copy of one (`made_once.copy_prefect_store`).
    """
    crew = Crew(folder, more or {})
    if store is not None:
        copy_prefect_store(store, crew.home)
    try:
        crew.start_prefect()
        yield crew
    finally:
        for member in reversed(crew.members):
            member.end()


def wait_until(true: Callable[[], bool], seconds: float, said: Callable[[], str] = str) -> float:
    """Poll until something is true; the seconds it took."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"it did not happen within {seconds} s\n{said()}")
        time.sleep(0.1)
    return time.monotonic() - began


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
