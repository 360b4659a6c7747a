import httpx
import pytest

from flows.retrying import OUT_OF_MEMORY, Trouble, oom_kills, trouble_of
from flows.stage_protocol import StageCrashed
from lori_core.errors import BadInput, CheckFailed, Unavailable

KILLED = StageCrashed("train", "x.log", "the training process was killed (out of memory?)")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable("the store", "one that answers"), "away"),
        (httpx.ConnectError("refused"), "away"),
        (BadInput("rows", "some"), "failed"),
        (CheckFailed("digest", "another"), "failed"),
        (KeyError("a bug of ours"), "failed"),
        (KILLED, "again"),
        (StageCrashed("train", "x.log", "the training process was ended by signal 11"), "again"),
        (StageCrashed("train", "x.log", "Traceback\nValueError: a bug"), "failed"),
    ],
)
def test_what_may_pass_is_tried_again_and_what_will_not_is_not(error: Exception, kind: str) -> None:
    assert trouble_of(error, lost=1, oom_kills=0).kind == kind


@pytest.mark.parametrize(
    ("error", "kills"),
    [
        (KILLED, 1),
        (MemoryError(), 0),
        (
            StageCrashed("train", "x.log", "Traceback\ntorch.OutOfMemoryError: CUDA out of memory"),
            0,
        ),
        (
            StageCrashed(
                "train", "x.log", "RuntimeError: DefaultCPUAllocator: can't allocate memory"
            ),
            0,
        ),
    ],
)
def test_out_of_memory_is_not_tried_again_and_says_what_to_do(error: Exception, kills: int) -> None:
    assert trouble_of(error, lost=1, oom_kills=kills) == Trouble("failed", OUT_OF_MEMORY)


def test_a_child_that_is_killed_each_time_fails_in_the_end() -> None:
    assert trouble_of(KILLED, lost=7, oom_kills=0).kind == "again"
    assert trouble_of(KILLED, lost=8, oom_kills=0).kind == "failed"


def test_servers_that_are_away_are_waited_for_however_long() -> None:
    assert trouble_of(Unavailable("it", "there"), lost=99, oom_kills=0).kind == "away"


def test_the_kernel_s_count_of_processes_ended_for_memory_only_grows() -> None:
    assert 0 <= oom_kills() <= oom_kills()
