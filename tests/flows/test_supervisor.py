"""The supervisor over small servers of Python's own; `test_up` has the real ones."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from flows import supervisor
from flows.not_started import ServiceNotStarted
from flows.prefect_server import free_port
from flows.services import Service, answers
from flows.supervisor import Kept, keep, supervised


class Enough(Exception):
    """The test has seen what it waited for."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "ASK_SECONDS", 0.05)


def server(name: str, *, after: tuple[str, ...] = (), silence: float = 60.0) -> Service:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return Service(
        name=name,
        url=url,
        healthy=lambda _: answers(url),
        command=(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)),
        after=after,
        silence=silence,
        grace=2.0,
    )


def script(name: str, code: str, *, once: bool = False) -> Service:
    return Service(
        name=name,
        url="nowhere",
        healthy=lambda _: False,
        command=(sys.executable, "-c", code),
        once=once,
        grace=2.0,
    )


def watch(kept: list[Kept], seen: Callable[[str], None]) -> list[str]:
    """Keep them until `seen` raises Enough; the lines told until then."""
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        seen(line)

    with pytest.raises(Enough):
        keep(kept, say=say, changed=lambda: None)
    return lines


def enough_when(true: Callable[[], bool]) -> Callable[[str], None]:
    def seen(line: str) -> None:
        if true():
            raise Enough

    return seen


def processes() -> Iterator[int]:
    return (each.pid for each in psutil.Process().children(recursive=True))


def test_services_start_side_by_side_and_all_end_when_the_block_is_left(tmp_path: Path) -> None:
    before = set(processes())
    with supervised([server("one"), server("two")], tmp_path) as kept:
        lines = watch(kept, enough_when(lambda: all(each.healthy for each in kept)))
        assert len(set(processes()) - before) == 2
    assert sorted(lines) == sorted(
        f"{each.service.name} {each.service.url} healthy" for each in kept
    )
    assert set(processes()) == before


def test_one_that_was_killed_is_started_again_and_answers_at_the_same_address(
    tmp_path: Path,
) -> None:
    with supervised([server("one"), server("two")], tmp_path) as kept:
        watch(kept, enough_when(lambda: all(each.healthy for each in kept)))
        first, other = kept[0].identity, kept[1].identity
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        lines = watch(kept, lambda line: enough_when(lambda: line.endswith("healthy"))(line))
        assert kept[0].identity != first
        assert kept[1].identity == other
    assert lines[0].startswith("one ended by signal 9; again in ")
    assert lines[1] == f"one {kept[0].service.url} healthy"


def test_one_that_lives_and_does_not_answer_is_ended_and_started_again(tmp_path: Path) -> None:
    with supervised([server("one", silence=0.5)], tmp_path) as kept:
        watch(kept, enough_when(lambda: kept[0].healthy))
        first = kept[0].identity
        assert first is not None
        os.kill(first.pid, signal.SIGSTOP)
        lines = watch(kept, lambda line: enough_when(lambda: line.endswith("healthy"))(line))
        assert not first.alive()
    assert "gave no answer" in lines[0]


def test_one_that_never_becomes_healthy_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    before = set(processes())
    services = [server("good"), script("bad", "import sys; sys.exit('the disk is on fire')")]
    lines: list[str] = []
    with pytest.raises(ServiceNotStarted) as told, supervised(services, tmp_path) as kept:
        keep(kept, say=lines.append, changed=lambda: None)
    log = tmp_path / "logs" / "up-bad.log"
    assert str(told.value) == f"bad did not start (the disk is on fire); see {log}"
    assert len([line for line in lines if line.startswith("bad ended with exit code 1")]) == 2
    assert set(processes()) == before


def test_each_wait_is_twice_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "TRIES", 5)
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.2)
    monkeypatch.setattr(supervisor, "LONGEST_WAIT", 0.7)
    started: list[float] = []
    clock = supervisor.time.monotonic
    real = Kept.start

    def start(self: Kept) -> None:
        started.append(clock())
        real(self)

    monkeypatch.setattr(Kept, "start", start)
    with (
        pytest.raises(ServiceNotStarted),
        supervised([script("bad", "raise SystemExit(3)")], tmp_path) as kept,
    ):
        keep(kept, say=lambda line: None, changed=lambda: None)
    waits = [later - earlier for earlier, later in pairwise(started)]
    assert len(waits) == 4
    for wait, least in zip(waits, (0.2, 0.4, 0.7, 0.7), strict=True):
        assert wait >= least


def test_one_that_needs_another_waits_for_it_and_work_done_once_is_not_repeated(
    tmp_path: Path,
) -> None:
    done = tmp_path / "done"
    once = script("once", f"open({str(done)!r}, 'a').write('x')", once=True)
    with supervised([server("last", after=("once",)), once], tmp_path) as kept:
        lines = watch(kept, enough_when(lambda: all(each.healthy for each in kept)))
    assert done.read_text() == "x"
    assert lines == [f"last {kept[0].service.url} healthy"]
