import time
from pathlib import Path

import psutil
import pytest

from flows.prior_run import recorded
from flows.submitted_file import file_document
from flows.worker import CLOSE_SECONDS, LEAVE_SECONDS
from registry.arrivals import Arrivals
from registry.store import Registry
from registry.submissions import Submissions
from tests.flows.crew import TRAINER, Crew, a_crew, wait_until
from tests.flows.tiny import write_sequence

LONG = (
    "training: {num_train_epochs: 60, train_batch_size: 8, learning_rate_dense: 2e-2,"
    " learning_rate: 5e-2, max_length: 32, save_steps: 5}"
)


def submitted(registry: Registry, file: Path) -> None:
    """As `lori submit FILE`, prepared by the dispatcher."""
    Submissions(registry).receive(
        file_document(file), source="command", folder=str(file.parent), submitted_by="tests"
    )


def a_long_task(folder: Path, resources: str = "") -> Path:
    """The sequence file of one task that is calibrated for minutes."""
    file = write_sequence(folder, ("color",))
    text = file.read_text()
    begin, end = text.index("training:"), text.index("\n", text.index("training:"))
    text = text[:begin] + LONG + text[end:]
    file.write_text(text.replace("- name: color\n", f"- name: color\n{resources}"))
    return file


@pytest.mark.slow
def test_cancel_ends_the_group_within_ten_seconds_and_what_is_stopped_goes_on(
    tmp_path: Path,
    prefect_store: Path,
) -> None:
    with a_crew(tmp_path, prefect_store) as crew, crew.registry() as registry:
        worker = crew.worker("worker", TRAINER)
        submitted(registry, a_long_task(tmp_path))
        stages = crew.home / "stages"
        # amid calibration, with a checkpoint to go on from
        wait_until(lambda: bool(list(stages.glob("calibrate-*/checkpoint*/*"))), 180, crew.said)
        [arrival] = Arrivals(registry).arrivals()
        assert arrival.state == "running"
        assert len(_cancelled(crew, Arrivals(registry))) == 2
        assert registry.versions("tiny") == ()

        reached = _steps(stages)
        assert reached > 0
        Arrivals(registry).retry(arrival.id, "tests")
        wait_until(lambda: _beyond(stages, reached), 300, crew.said)
        assert worker.stop(within=60) < LEAVE_SECONDS + CLOSE_SECONDS + 2
        left = Arrivals(registry).arrival(arrival.id)
        assert (left.state, left.attempt) == ("waiting", 0), "an orderly leave is no attempt"
        assert _beyond(stages, reached)

        worker.start()
        wait_until(
            lambda: Arrivals(registry).arrival(arrival.id).state == "learned", 300, crew.said
        )
        assert [each.state for each in registry.versions("tiny")] == ["registered"]


@pytest.mark.slow
def test_cancel_ends_processes_that_train_together_also_where_one_of_them_hears_nothing(
    tmp_path: Path,
    prefect_store: Path,
) -> None:
    with a_crew(tmp_path, prefect_store) as crew, crew.registry() as registry:
        crew.worker("worker", TRAINER)
        submitted(registry, a_long_task(tmp_path, "    resources: {processes: 2}\n"))
        stages = crew.home / "stages"
        arrivals = Arrivals(registry)
        wait_until(lambda: bool(list(stages.glob("calibrate-*/checkpoint*/*"))), 180, crew.said)
        group = _cancelled(crew, arrivals)
        assert len(group) == 4, "the run, torchrun, and the two it started"
        kept = _steps(stages)
        assert kept > 0

        arrivals.retry(1, "tests")
        wait_until(lambda: _beyond(stages, kept), 180, crew.said)
        deaf = psutil.Process(recorded(crew.home / "runs" / "tiny.json")[-1].pid)
        deaf.suspend()
        group = _cancelled(crew, arrivals)
        assert deaf in group


def _cancelled(crew: Crew, arrivals: Arrivals) -> list[psutil.Process]:
    """Cancel the one arrival; its processes, all of which are gone ten seconds later."""
    group = [psutil.Process(each.pid) for each in recorded(crew.home / "runs" / "tiny.json")]
    arrivals.cancel(1, "tests")
    asked = time.monotonic()
    wait_until(lambda: not any(_alive(each) for each in group), 10, crew.said)
    wait_until(lambda: arrivals.arrival(1).state == "cancelled", 10, crew.said)
    assert time.monotonic() - asked < 10
    return group


def _steps(stages: Path) -> int:
    """The step of the newest checkpoint of calibration; there is one at a time."""
    folders = stages.glob("calibrate-*/**/checkpoint-*")
    return max((int(each.name.rpartition("-")[2]) for each in folders), default=0)


def _beyond(stages: Path, reached: int) -> bool:
    steps = _steps(stages)
    assert steps == 0 or steps >= reached, "it began again"
    return steps > reached


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
