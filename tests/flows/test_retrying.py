import sys
from pathlib import Path

import httpx
import pytest

from flows.retrying import OUT_OF_MEMORY, Trouble, oom_kills, trouble_of
from flows.stage_protocol import StageCrashed
from flows.working import Work, work_on
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.accounts import TOKEN_VARIABLE, Accounts, TokenRefused, owner
from registry.desks import acting
from registry.roles import allow
from registry.store import open_registry
from tests.flows.arriving_cases import Desk, know_base

sys.path.insert(1, str(Path(__file__).parents[1] / "registry"))  # MLflow's stand-ins

from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

KILLED = StageCrashed("train", "x.log", "the training process was killed (out of memory?)")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable("the store", "one that answers"), "away"),
        (httpx.ConnectError("refused"), "away"),
        (BadInput("rows", "some"), "failed"),
        (CheckFailed("digest", "another"), "failed"),
        (CheckFailed("role", "os:root acts without a token"), "barred"),
        (TokenRefused("revoked"), "barred"),
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


def test_a_worker_without_the_right_is_told_how_to_get_it() -> None:
    told = trouble_of(TokenRefused("revoked"), lost=99, oom_kills=0).reason
    for word in ("`lori up`", "`lori worker`", "LORI_TOKEN", "trainer"):
        assert word in told
    assert ".." not in told


def test_what_a_worker_without_the_right_took_is_given_back_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORI_HOME", str(tmp_path / ".lori"))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    store = FolderArtifacts(tmp_path / "store")
    with open_registry(tmp_path / ".lori", artifacts=store, aliases=FakeAliases()) as registry:
        desk = Desk(tmp_path, registry)
        know_base(desk)
        desk.send(desk.file("color"))
        Accounts(registry, owner()).create("ada", "admin")
        [out] = desk.arrivals.dispatch()

        def learn(work: Work) -> int:
            allow(acting(work.registry), "file")
            raise AssertionError

        state = work_on(out.id, out.token, learn)
        assert state.name == "Given back"
        found = desk.arrivals.arrival(out.id)
        assert (found.state, found.lost) == ("waiting", 0)
        assert found.not_before is not None
        assert found.reason is not None
        assert "acts without a token" in found.reason
        assert "`lori up` or `lori worker`" in found.reason


def test_servers_that_are_away_are_waited_for_however_long() -> None:
    assert trouble_of(Unavailable("it", "there"), lost=99, oom_kills=0).kind == "away"


def test_the_kernel_s_count_of_processes_ended_for_memory_only_grows() -> None:
    assert 0 <= oom_kills() <= oom_kills()
