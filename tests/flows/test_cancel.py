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
from tests.flows.crew import TRAINER, a_crew, wait_until
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


@pytest.mark.slow
def test_cancel_ends_the_group_within_ten_seconds_and_what_is_stopped_goes_on(
    tmp_path: Path,
) -> None:
    file = write_sequence(tmp_path, ("color",))
    text = file.read_text()
    begin, end = text.index("training:"), text.index("\n", text.index("training:"))
    file.write_text(text[:begin] + LONG + text[end:])
    with a_crew(tmp_path) as crew, crew.registry() as registry:
        worker = crew.worker("worker", TRAINER)
        submitted(registry, file)
        stages = crew.home / "stages"
        # amid calibration, with a checkpoint to go on from
        wait_until(lambda: bool(list(stages.glob("calibrate-*/checkpoint*/*"))), 180, crew.said)
        [arrival] = Arrivals(registry).arrivals()
        assert arrival.state == "running"
        group = [psutil.Process(each.pid) for each in recorded(crew.home / "runs" / "tiny.json")]
        assert len(group) >= 2

        Arrivals(registry).cancel(arrival.id, "tests")
        asked = time.monotonic()
        wait_until(lambda: not any(_alive(each) for each in group), 10, crew.said)
        wait_until(
            lambda: Arrivals(registry).arrival(arrival.id).state == "cancelled", 10, crew.said
        )
        assert time.monotonic() - asked < 10
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
