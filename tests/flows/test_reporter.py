import io
import json
import signal
import time

import pytest

from flows.reporter import Leaving, Reporter, Timer
from lori_core.phase import Progress


def step(number: int, *, saved: bool) -> Progress:
    return Progress("math", "train", number, 10, 1.0, 0.5, 100, saved)


def test_progress_is_told_at_most_five_times_a_second_but_always_at_the_end() -> None:
    channel = io.BytesIO()
    reporter = Reporter(channel)
    for done in range(1, 101):
        reporter.progress(done, 100)
    told = [json.loads(line)["done"] for line in channel.getvalue().splitlines()]
    assert told[0] == 1
    assert told[-1] == 100
    assert len(told) < 10


def test_after_sigterm_training_is_left_only_once_its_checkpoint_is_written() -> None:
    reporter = Reporter(io.BytesIO())
    assert not reporter.checkpoint_due()
    reporter.leave(signal.SIGTERM, None)
    assert reporter.checkpoint_due()
    reporter.training(step(3, saved=False))
    with pytest.raises(Leaving) as left:
        reporter.training(step(4, saved=True))
    assert left.value.code == 143


def test_a_timer_is_over_when_its_time_went_by_since_it_was_last_started() -> None:
    timer = Timer(0.05)
    assert not timer.over()
    time.sleep(0.06)
    assert timer.over()
    timer.restart()
    assert not timer.over()


def test_other_stages_leave_at_their_next_report() -> None:
    reporter = Reporter(io.BytesIO())
    reporter.leave(signal.SIGTERM, None)
    with pytest.raises(Leaving):
        reporter.progress(1, 2)
