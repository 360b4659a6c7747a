"""A real Prefect server with a plain process worker of its own on the queue of submissions."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from registry.arrival_records import Submission
from registry.arrivals import Arrivals
from tests.flows.crew import ROOT, Crew, Member, a_crew, wait_until

PLAIN_WORKER = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "lori")
PLAIN_WORKER += ("--type", "process", "--work-queue", "submit", "--name")

EMIT = """
import sys, time
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
print(time.time(), flush=True)
import json
event, resource, payload, related = sys.argv[1:]
emit_event(
    event,
    resource={"prefect.resource.id": resource},
    payload=json.loads(payload),
    related=json.loads(related),
)
EventsWorker.drain_all(timeout=20, at_exit=False)
"""


@dataclass
class PrefectPlace:
    """The server, and what was submitted through it."""

    crew: Crew

    @contextmanager
    def worker(self) -> Iterator[Member]:
        """Prefect's own worker, once it polls; nothing of it is left afterwards."""
        worker = self.crew.worker("plain", PLAIN_WORKER)
        try:
            wait_until(lambda: b"started!" in worker.log.read_bytes(), 90, self.crew.said)
            yield worker
        finally:
            worker.end()

    def submissions(self) -> tuple[Submission, ...]:
        with self.crew.registry() as registry:
            return Arrivals(registry).received()

    def file(self, name: str = "night") -> Path:
        """A new sequence file; neither its base nor its rows are there."""
        path = self.crew.home.parent / f"{name}.yaml"
        path.write_text(
            f"sequence: {name}\nbase: ./base\n"
            "tasks: [{name: one, train: {path: a.jsonl}, test: {path: b.jsonl}}]\n"
        )
        return path

    def emit_heartbeat(self, run: str) -> None:
        """One sign of life of a run of ours, as `flows.working` sends them."""
        tag = {"prefect.resource.id": "prefect.tag.lori", "prefect.resource.role": "tag"}
        self.emit("prefect.flow-run.heartbeat", f"prefect.flow-run.{run}", {}, related=[tag])

    def emit(
        self,
        event: str,
        resource: str,
        payload: dict[str, object],
        *,
        related: list[dict[str, str]] | None = None,
    ) -> float:
        """Send an event as any other program would; when it was sent comes back."""
        answer = subprocess.run(
            [
                sys.executable,
                "-c",
                EMIT,
                event,
                resource,
                json.dumps(payload),
                json.dumps(related or []),
            ],
            env=self.crew.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return float(answer.stdout.split()[0])

    def lori(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            env=self.crew.environment,
            cwd=self.crew.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def await_submission(self, path: Path, seconds: float) -> tuple[Submission, float]:
        """The first submission of a file, and when it was seen."""
        found: list[Submission] = []

        def there() -> bool:
            found[:] = [s for s in self.submissions() if s.document.get("file") == str(path)]
            return bool(found)

        wait_until(there, seconds, self.crew.said)
        return found[0], time.time()


@contextmanager
def a_prefect_place(folder: Path, store: Path) -> Iterator[PrefectPlace]:
    """A server, with this process's Prefect pointed at it."""
    more = {
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with (
        a_crew(folder, store, more=more) as crew,
        temporary_settings(updates={PREFECT_API_URL: crew.url}),
    ):
        yield PrefectPlace(crew)
