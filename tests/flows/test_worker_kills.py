import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from registry.arrivals import Arrivals
from registry.store import Registry
from tests.flows.conftest import Lab
from tests.flows.crew import TRAINER, Crew, Member, a_crew, wait_until
from tests.flows.kills import MORE, finished_stages, outcome
from tests.flows.stand_in import LEASE
from tests.flows.test_cancel import submitted
from tests.flows.tiny import write_sequence

TASKS = ("color", "size", "animal")


@pytest.mark.slow
def test_worker_flow_and_child_killed_in_one_sequence_leave_the_bits_of_an_undisturbed_run(
    tmp_path: Path,
    prefect_store: Path,
    learned: Lab,
) -> None:
    folder = tmp_path / "crew"
    folder.mkdir()
    file = write_sequence(folder, TASKS, more=MORE)
    with a_crew(folder, prefect_store) as crew, crew.registry() as registry:
        worker = crew.worker("worker", TRAINER)
        submitted(registry, file)
        wait_until(lambda: len(Arrivals(registry).arrivals()) == len(TASKS), 120, crew.said)
        for position, victim in enumerate(("child", "flow", "worker")):
            _until_in_the_middle(crew, registry, position)
            arrival = Arrivals(registry).arrivals()[position]
            _kill(worker, victim)
            killed = time.monotonic()
            if victim == "worker":
                worker.start()
            wait_until(lambda a=arrival: _goes_on(registry, a.id, a.token), 2 * LEASE, crew.said)
            assert time.monotonic() - killed <= 2 * LEASE
        wait_until(lambda: _learned(registry) == len(TASKS), 300, crew.said)
        worker.stop()
    calm, rough = outcome(learned.home), outcome(crew.home)
    assert rough.versions == calm.versions
    assert rough.matrices == calm.matrices
    assert set(rough.finished) == set(calm.finished)


def _until_in_the_middle(crew: Crew, registry: Registry, position: int) -> None:
    """Wait until a task runs and some of its stages are finished."""
    wait_until(lambda: _learned(registry) == position, 300, crew.said)
    before = finished_stages(crew.home)
    wait_until(lambda: finished_stages(crew.home) > before, 300, crew.said)


def _kill(worker: Member, victim: str) -> None:
    if victim == "worker":
        family = worker.kill()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive, f"outlived the worker: {[each.cmdline() for each in alive]}"
        return
    [flow] = psutil.Process(worker.pid).children()
    [child] = flow.children()
    os.kill(flow.pid if victim == "flow" else child.pid, signal.SIGKILL)


def _goes_on(registry: Registry, arrival: int, token: int) -> bool:
    """Whether another attempt runs, or is through."""
    found = Arrivals(registry).arrival(arrival)
    return found.token > token and found.state in ("running", "learned")


def _learned(registry: Registry) -> int:
    return len(Arrivals(registry).arrivals(states=["learned"]))
