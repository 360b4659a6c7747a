"""Prefect of the embedded default: its server as a child of ours, on a free port, in our home.

Prefect would start a server by itself, but one that outlives a killed parent. Ours is bound to us
(`flows.bound`), serves on 127.0.0.1 alone, keeps its data in `HOME/prefect`, sends nothing
anywhere, and writes its log to `HOME/logs`. Where `PREFECT_API_URL` names a server, that one is
used and none is started; likewise where `lori up` runs for the home.
"""

import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from flows.bound import bound_command
from flows.not_started import ServiceNotStarted, last_words
from flows.processes import ProcessIdentity, identify
from registry.home import file_lock, writable
from registry.known_services import known_services

START_SECONDS = 180.0
MADE = "prefect/migrated"
"""In the home, once the server's own store in it was made whole."""

TRIES = 3

QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}
SERVER_ONLY = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class PrefectServer:
    """The server, started early and awaited late, so that it costs little."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "logs" / "prefect-server.log"
        self._port = 0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> ProcessIdentity:
        """Start the child (from the main thread: see `flows.bound`); return at once."""
        self._port = free_port()
        with writable(self.home):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            log = self.log.open("ab")
            begin_again_if_half_made(self.home)
        with log:
            self._child = subprocess.Popen(
                bound_command(*server_command(self._port)),
                env={**os.environ, **embedded_settings(self.home), **SERVER_ONLY},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                process_group=0,  # Ctrl-C is ours to handle, not the server's
            )
        return identify(self._child.pid, "prefect")

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self._port}/api"

    def wait(self) -> bool:
        """Wait until it is healthy; False if it ended instead (its port was taken, say)."""
        deadline = time.monotonic() + START_SECONDS
        while self._child is not None and time.monotonic() < deadline:
            if self._child.poll() is not None:
                return False
            if _healthy(self.url):
                remember_it_is_made(self.home)
                return True
            time.sleep(0.1)
        return False

    def stop(self) -> None:
        """End it: politely, then not."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None


@contextmanager
def prefect_server(
    home: Path, started: Callable[[ProcessIdentity], None]
) -> Iterator[Callable[[], None]]:
    """Have a Prefect API for as long as the block lasts; yields the function that waits for it.

    `started` is told of each process before it can do anything. After the yielded function
    returned, this process's environment names the API: import prefect then, not before.
    """
    os.environ.update(client_settings(home))
    if os.environ.get("PREFECT_API_URL"):
        yield lambda: None
        return
    os.environ.update(embedded_settings(home))
    up = known_services(home)
    if up is not None and up.ready and up.prefect is not None:
        os.environ["PREFECT_API_URL"] = up.prefect
        try:
            yield lambda: None
        finally:
            os.environ.pop("PREFECT_API_URL", None)
        return
    server = PrefectServer(home)
    starting = ExitStack()

    def ready() -> None:
        with starting:
            for _ in range(TRIES):
                if server.wait():
                    os.environ["PREFECT_API_URL"] = server.url
                    return
                server.stop()
                started(server.start())
        raise ServiceNotStarted("Prefect's server", str(server.log), last_words(server.log))

    with starting:
        starting.enter_context(start_lock(home))
        started(server.start())
        starting = starting.pop_all()
    try:
        yield ready
    finally:
        starting.close()
        os.environ.pop("PREFECT_API_URL", None)
        server.stop()


def server_command(port: int) -> tuple[str, ...]:
    """What starts Prefect's server on a port of the loopback."""
    return (
        *(sys.executable, "-m", "uvicorn", "--factory"),
        *("--app-dir", str(Path(__file__).parents[1])),  # a home may hold a folder `flows` too
        *("flows.prefect_app:create_app", "--host", "127.0.0.1", "--port", str(port)),
        *("--log-level", "error", "--lifespan", "on"),
    )


def begin_again_if_half_made(home: Path) -> None:
    """Take away a store whose first migrations were cut short by a kill; hold the start lock."""
    if not (home / MADE).exists():
        for half in (home / MADE).parent.glob("prefect.db*"):
            half.unlink()


def remember_it_is_made(home: Path) -> None:
    """The store was migrated: a server on it is healthy."""
    (home / MADE).touch()


def start_lock(home: Path) -> AbstractContextManager[None]:
    """Two servers must not migrate one database at the same time."""
    return file_lock(home / "prefect" / "start.lock")


def client_settings(home: Path) -> dict[str, str]:
    """This process's environment, whichever server it talks to: results lie in our home."""
    return {**QUIET, "PREFECT_LOCAL_STORAGE_PATH": str(home / "prefect" / "storage")}


def embedded_settings(home: Path) -> dict[str, str]:
    """What the embedded server and its client need beside that."""
    past_proxies = [each for each in (os.environ.get("NO_PROXY"), "127.0.0.1,localhost") if each]
    return {
        **client_settings(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_TO_API_ENABLED": "false",  # the log file is the record
        "NO_PROXY": ",".join(dict.fromkeys(",".join(past_proxies).split(","))),
    }


def flush_events() -> None:
    """Hand the server what the client still holds, before the server is stopped."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=5, at_exit=False)


class _PatientFile(logging.FileHandler):
    """A log that says nothing where it cannot be written: the disk is full, and we say that."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the record."""


def log_to_file(path: Path) -> None:
    """Send what Prefect would print on stderr to a file instead: stderr is for people."""
    import prefect.main  # noqa: F401  (it sets logging up when it is first imported)
    from prefect.logging.handlers import PrefectConsoleHandler

    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _PatientFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    names = [name for name in logging.root.manager.loggerDict if name.startswith("prefect")]
    for logger in [logging.getLogger(), *map(logging.getLogger, names)]:
        loud = [
            each
            for each in logger.handlers
            if isinstance(each, PrefectConsoleHandler)
            or (isinstance(each, logging.StreamHandler) and each.stream is sys.stderr)
        ]  # the second is what its client's own threads log with
        for each in loud:
            logger.removeHandler(each)
        if loud:
            logger.addHandler(handler)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
