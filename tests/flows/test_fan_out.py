from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prior_run import recorded
from registry.arrivals import Arrivals
from registry.store import Registry, open_registry
from tests.flows.conftest import Lab
from tests.flows.crew import TRAINER, Crew, a_crew, wait_until
from tests.flows.test_cancel import submitted
from tests.flows.tiny import write_sequence

RETRIES = "PREFECT_CLIENT_MAX_RETRIES"

METRIC = '''
import os, time
from pathlib import Path


def score(outputs, rows, task):
    """Exact match. Each scoring is noted, and waits while the test holds it."""
    note("begin", task)
    while (Path(os.environ["MEET"]) / task).exists():
        time.sleep(0.1)
    note("end", task)
    return [float(out.split() == row["completion"].split()) for out, row in zip(outputs, rows)]


def note(what, task):
    with open(Path(os.environ["MEET"]) / "log", "a") as log:
        log.write(f"{what} {task} {os.getpid()}\\n")


def color(prompts, outputs, rows):
    return score(outputs, rows, "color")


def size(prompts, outputs, rows):
    return score(outputs, rows, "size")
'''


@pytest.mark.slow
def test_cells_are_scored_by_two_workers_and_one_that_is_killed_costs_time_alone(
    tmp_path: Path, prefect_store: Path, learned_once: Lab
) -> None:
    meet = tmp_path / "meet"
    meet.mkdir()
    for task in ("color", "size"):
        (meet / task).touch()  # hold whoever scores it
    with a_crew(tmp_path, prefect_store, more={"MEET": str(meet), "STAND_IN_LIMIT": "1"}) as crew:
        workers = [crew.worker(name, TRAINER) for name in ("worker-1", "worker-2")]
        with crew.registry() as registry:
            submitted(registry, _file(tmp_path))
            said = partial(_said, crew)
            wait_until(lambda: len(_scoring(meet, "color")) == 2, 300, said)
            ours, theirs = _told_apart(crew.home, _scoring(meet, "color"))
            assert _worker_of(ours) != _worker_of(theirs)
            retries = {_flow_of(each).environ().get(RETRIES) for each in (ours, theirs)}
            assert retries == {None}, "the dispatcher's few retries are not those of what it sends"
            (meet / "color").unlink()

            wait_until(lambda: len(_scoring(meet, "size")) == 2, 300, said)
            assert [Arrivals(registry).arrival(1).state] == ["learned"]
            assert {ours, theirs} == _ended(meet, "color"), "each scored one of the two cells"
            _, theirs = _told_apart(crew.home, _scoring(meet, "size"))
            scorer = psutil.Process(theirs)
            helper = scorer.parent()
            assert helper is not None
            helper.kill()
            psutil.wait_procs([scorer], timeout=30)  # else it may score before its end reaches it
            assert not scorer.is_running() or scorer.status() == psutil.STATUS_ZOMBIE
            (meet / "size").unlink()
            wait_until(lambda: Arrivals(registry).arrival(2).state == "learned", 120, crew.said)
            assert theirs not in _ended(meet, "size")
            assert _cells(registry) == _cells_of(learned_once.home)
        with (
            temporary_settings({PREFECT_API_URL: crew.url}),
            get_client(sync_client=True) as client,
        ):
            wait_until(lambda: _over(_helpers(client)), 30, crew.said)
            first, second = (run.state for run in _helpers(client))
        assert first is not None
        assert second is not None
        assert (first.name, second.name) == ("Completed", "Crashed")
        for worker in workers:
            worker.stop()


def _file(folder: Path) -> Path:
    """The first two tasks of `learned_once`, scored by our metric and two workers."""
    (folder / "meeting.py").write_text(METRIC)
    path = write_sequence(folder, ("color", "size"))
    text = path.read_text()
    for task in ("color", "size"):
        more = f"    metric: meeting:{task}\n    resources: {{evaluate_workers: 2}}\n"
        text = text.replace(f"  - name: {task}\n", f"  - name: {task}\n{more}")
    path.write_text(text)
    return path


def _said(crew: Crew) -> str:
    """The logs of all, who scores what, and how the flow runs stand."""
    with temporary_settings({PREFECT_API_URL: crew.url}), get_client(sync_client=True) as client:
        runs = [
            f"{run.name} {run.work_queue_name} {run.state!r}" for run in client.read_flow_runs()
        ]
    claims = [str(each) for each in (crew.home / "cells").glob("*")]
    meet = Path(crew.more["MEET"]) / "log"
    noted = meet.read_text() if meet.exists() else "nobody scores"
    return "\n".join([crew.said(), *runs, *claims, noted])


def _noted(meet: Path, what: str, task: str) -> set[int]:
    log = meet / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    said = [line.split() for line in lines]
    return {int(pid) for begun, of, pid in said if (begun, of) == (what, task)}


def _scoring(meet: Path, task: str) -> set[int]:
    """Processes that came to score cells of a task."""
    return _noted(meet, "begin", task)


def _ended(meet: Path, task: str) -> set[int]:
    """Processes that scored some."""
    return _noted(meet, "end", task)


def _told_apart(home: Path, pids: set[int]) -> tuple[int, int]:
    """Of two that score: the child of the run that learns, and that of the helper."""
    learner = {each.pid for each in recorded(home / "runs" / "tiny.json")}
    [ours], [theirs] = pids & learner, pids - learner
    return ours, theirs


def _worker_of(child: int) -> int:
    """The worker whose flow run has this child."""
    return _flow_of(child).ppid()


def _flow_of(child: int) -> psutil.Process:
    flow = psutil.Process(child).parent()
    assert flow is not None
    return flow


def _helpers(client: SyncPrefectClient) -> list[FlowRun]:
    """Flow runs of helpers, in the order they were made."""
    deployment: UUID = client.read_deployment_by_name("evaluate-cells/default").id
    runs = [run for run in client.read_flow_runs() if run.deployment_id == deployment]
    return sorted(runs, key=lambda run: str(run.created))


def _over(runs: list[FlowRun]) -> bool:
    return len(runs) == 2 and all(run.state is not None and run.state.is_final() for run in runs)


def _cells(registry: Registry) -> dict[object, object]:
    """R of the first two versions: what is scored at each place, and the answers it stands on."""
    return {
        (cell.version, cell.task, cell.read): (
            *(cell.value, cell.n, cell.low, cell.high),
            *(cell.effective_digest, cell.predictions_sha256),
        )
        for cell in registry.cells("tiny")
        if cell.version <= 2 and cell.task != "animal" and cell.adapter_of is None
    }


def _cells_of(home: Path) -> dict[object, object]:
    with open_registry(home) as registry:
        return _cells(registry)
