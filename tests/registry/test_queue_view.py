"""The queue as a page shows it, held to what `lori status` tells of it, on both stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from arrival_cases import arrive, end_lease, end_wait, taken
from registry_examples import declare
from sqlalchemy import event

from lori_core.errors import BadInput
from registry.accounts import owner
from registry.arrivals import Arrivals
from registry.clock import now
from registry.queue_records import QueuedTask, SequenceQueue
from registry.queue_standing import QueueItem, queue_standing
from registry.queue_times import expected_times, mean_seconds, progress_of, silent_seconds
from registry.queue_view import (
    ITEMS,
    LATELY,
    queue_view,
    sequence_queue,
    sequence_queues,
)
from registry.queueing import Queue
from registry.store import Registry

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)


@contextmanager
def queries(registry: Registry) -> Iterator[list[str]]:
    """Every statement that is sent meanwhile."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(registry._database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(registry._database.engine, "before_cursor_execute", note)


def learn(arrivals: Arrivals, *names: str, sequence: str) -> None:
    for name in names:
        [arrival] = arrive(arrivals, name, sequence=sequence)
        arrivals.learned(taken(arrivals, arrival), 1)


def as_told(task: QueuedTask) -> dict[str, object]:
    return {
        "arrival": task.arrival,
        "task": task.task,
        "state": task.state,
        "held": task.held,
        "priority": task.priority,
        "queue": task.queue,
        "attempt": task.attempt,
        "version": task.version,
        "reason": task.reason,
        "done": None if task.progress is None else task.progress.done,
    }


def as_status_tells(item: QueueItem) -> dict[str, object]:
    kept = {key: item[key] for key in as_told_keys}  # type: ignore[literal-required]
    return {**kept, "done": None if item["progress"] is None else item["progress"]["done"]}


as_told_keys = (
    *("arrival", "task", "state", "held", "priority", "queue", "attempt", "version", "reason"),
)


def busy(arrivals: Arrivals) -> Registry:
    """A sequence in which everything happens at once, and some beside it."""
    learn(arrivals, "one", "two", sequence="busy")
    first, second, third, fourth = arrive(arrivals, "a", "b", "c", "d", sequence="busy")
    [urgent] = arrive(arrivals, "urgent", sequence="busy", priority=5)
    arrivals.hold(third, "ann")
    arrivals.cancel(second, "ann")
    fence = taken(arrivals, urgent)
    arrivals.renew(fence, {"stage": "train", "done": 3, "total": 9, "since": NOON.isoformat()})
    [failing] = arrive(arrivals, "bad", "behind", sequence="stuck")[:1]
    arrivals.failed(taken(arrivals, failing), "no room")
    arrive(arrivals, "x", "y", sequence="idle")
    arrivals.hold_sequence("later", "the base moves", "ben")
    assert first < fourth
    return arrivals.registry


def test_it_tells_what_status_tells(arrivals: Arrivals) -> None:
    registry = busy(arrivals)
    at, people = now(), Queue(registry, owner())
    for name, found in sequence_queues(registry, ["busy", "idle", "stuck", "later"], at).items():
        told = queue_standing(people, name, at)
        known = sorted((as_status_tells(each) for each in told["items"]), key=str)
        assert sorted((as_told(each) for each in found.items), key=str) == known
        past = [as_status_tells(each) for each in told["history"]]
        assert sorted(map(as_told, found.history), key=str) == sorted(past, key=str)
        assert found.blocked_by == told["blocked_by"]
        assert (found.held is None) == (told["held"] is None)
        assert found.seconds_a_task == pytest.approx(told["seconds_a_task"], abs=1e-4)
        when = {each["arrival"]: each["expected"] for each in told["items"]}
        for each in found.items:
            exact = when[each.arrival]
            assert (each.expected is None) == (exact is None)
            if each.expected is not None and exact is not None:
                over = each.expected - datetime.fromisoformat(exact)
                assert timedelta() < over <= timedelta(minutes=1)


def test_what_runs_is_first_then_what_blocks_then_the_others_in_turn(arrivals: Arrivals) -> None:
    registry = busy(arrivals)
    tasks = [each.task for each in sequence_queue(registry, "busy", now()).items]
    assert tasks == ["urgent", "a", "c", "d"]
    many = arrive(arrivals, *(f"t{number}" for number in range(30)), sequence="many")
    arrivals.dispatch()
    fence = arrivals.take(many[0], arrivals.arrival(many[0]).token, "host")
    arrivals.failed(fence, "no room")
    arrive(arrivals, *(f"u{number}" for number in range(30)), sequence="many", priority=9)
    found = sequence_queue(registry, "many", now())
    assert (found.items[0].task, found.items[0].reason) == ("t0", "no room")  # its turn is the last
    assert found.items[1].task == "u0"
    assert (len(found.items), found.more) == (ITEMS, 60 - ITEMS)
    assert (found.waiting, found.running, found.failed) == (59, 0, 1)


def test_the_page_has_what_needs_somebody_first(arrivals: Arrivals) -> None:
    registry = busy(arrivals)
    view = queue_view(registry, now())
    assert [each.sequence for each in view.sequences] == ["busy", "stuck", "idle", "later"]
    assert view.total == 4
    assert [each.declared for each in view.sequences] == [False] * 4
    assert [each.task for each in view.history] == ["b", "two", "one"]
    declare(registry)
    arrive(arrivals, "poems", sequence="assistant")
    assert queue_view(registry, now()).sequences[2].declared
    names = [
        each.sequence
        for page in (1, 2, 3)
        for each in queue_view(registry, now(), page=page, size=2).sequences
    ]
    assert names == ["busy", "stuck", "assistant", "idle", "later"]
    last = queue_view(registry, now(), page=9, size=2)  # beyond the end is the end
    assert [each.sequence for each in last.sequences] == ["later"]


def test_one_sequence_alone_is_told_whole(arrivals: Arrivals) -> None:
    registry = busy(arrivals)
    arrive(arrivals, *(f"t{number}" for number in range(40)), sequence="many")
    [only] = queue_view(registry, now(), sequence="many").sequences
    assert [each.task for each in only.items] == [f"t{number}" for number in range(40)]
    assert only.more == 0
    [empty] = queue_view(registry, now(), sequence="unknown").sequences
    assert (empty.items, empty.declared, empty.in_hand) == ((), False, None)
    assert {each.sequence for each in queue_view(registry, now(), sequence="busy").history} == {
        "busy"
    }
    with pytest.raises(BadInput):
        queue_view(registry, now(), sequence="No Name")


def test_the_number_of_queries_does_not_grow(arrivals: Arrivals) -> None:
    registry = busy(arrivals)
    with queries(registry) as few:
        queue_view(registry, now())
    with queries(registry) as one:
        sequence_queue(registry, "busy", now())
    for number in range(30):
        name = f"more-{number}"
        learn(arrivals, "one", "two", sequence=name)
        [running] = arrive(arrivals, "three", "four", "five", sequence=name)[:1]
        taken(arrivals, running)
        registry.stage_started(f"{name}-key", stage="train", sequence=name, task="three")
    with queries(registry) as many:
        view = queue_view(registry, now(), size=50)
    assert len(view.sequences) == 34
    assert len(many) == len(few) <= 13
    with queries(registry) as all_of_them:
        sequence_queues(registry, [f"more-{number}" for number in range(30)], now())
    assert len(all_of_them) == len(one) <= 9


def test_refused_submissions_are_told_newest_first(arrivals: Arrivals) -> None:
    for number in range(LATELY + 5):
        sent = arrivals.receive(
            {"n": number}, source="folder", folder="/in", submitted_by=f"user-{number}"
        )
        arrivals.refuse(sent.id, f"no such file {number}")
    arrivals.receive({}, source="api", folder=None, submitted_by="ann")
    view = queue_view(arrivals.registry, now())
    assert view.received == 1
    assert [each.submitted_by for each in view.refused] == [
        f"user-{number}" for number in reversed(range(5, LATELY + 5))
    ]
    assert view.refused[0].reason == f"no such file {LATELY + 4}"


def hand(registry: Registry, name: str = "assistant") -> SequenceQueue:
    return sequence_queue(registry, name, now())


def test_the_stages_of_the_task_in_hand_are_told_with_their_last_attempt(
    arrivals: Arrivals,
) -> None:
    registry = arrivals.registry
    [poems] = arrive(arrivals, "poems")
    fence = taken(arrivals, poems)
    assert hand(registry).in_hand is None  # it runs and has begun no stage
    for stage in ("calibrate", "mask"):
        registry.stage_started(stage, stage=stage, sequence="assistant", task="poems")
        registry.stage_finished(stage)
    registry.stage_started("train", stage="train", sequence="assistant", task="poems")
    registry.stage_finished("train", failed=True)
    registry.stage_started("train", stage="train", sequence="assistant", task="poems")
    found = hand(registry).in_hand
    assert found is not None
    assert found.queued
    assert [(step.stage, step.state) for step in found.steps] == [
        ("calibrate", "finished"),
        ("mask", "finished"),
        ("train", "running"),
    ]
    registry.stage_finished("train")
    arrivals.learned(fence, 1)
    assert hand(registry).in_hand is None


def test_how_far_it_is_is_told_of_the_stage_that_runs_and_of_none_before(
    arrivals: Arrivals,
) -> None:
    registry = arrivals.registry
    [poems] = arrive(arrivals, "poems")
    fence = taken(arrivals, poems)

    def shown() -> str | None:
        [item] = hand(registry).items
        return None if item.progress is None else item.progress.stage

    registry.stage_started("one", stage="train", sequence="assistant", task="poems")
    assert shown() is None
    arrivals.renew(fence, {"stage": "train", "done": 61, "total": 200})
    assert shown() == "train"
    registry.stage_finished("one")
    assert shown() is None
    registry.stage_started("two", stage="certify", sequence="assistant", task="poems")
    assert shown() is None  # what it said last is still of the stage before
    arrivals.renew(fence, {"stage": "certify", "done": 0, "total": 0})
    assert shown() == "certify"
    registry.stage_finished("two")
    arrivals.renew(fence, {"stage": "file", "done": 0, "total": 0})  # no stage of ours
    assert shown() == "file"


def test_a_run_by_hand_is_told_as_such(arrivals: Arrivals) -> None:
    registry = arrivals.registry
    registry.stage_started("old", stage="train", sequence="assistant", task="sql")
    registry.stage_finished("old")
    registry.stage_started("new", stage="calibrate", sequence="assistant", task="poems")
    found = hand(registry).in_hand
    assert found is not None
    assert (found.task, found.queued) == ("poems", False)
    assert [step.stage for step in found.steps] == ["calibrate"]
    registry.stage_finished("new", failed=True)
    assert hand(registry).in_hand is None


def test_what_a_cancelled_or_killed_run_left_is_not_told_as_a_run_by_hand(
    arrivals: Arrivals,
) -> None:
    registry = arrivals.registry
    [poems] = arrive(arrivals, "poems")
    fence = taken(arrivals, poems)
    registry.stage_started("one", stage="train", sequence="assistant", task="poems")
    end_lease(registry, poems)
    arrivals.expire()
    assert hand(registry).running == 0
    assert hand(registry).in_hand is None
    end_wait(registry, poems)
    fence = taken(arrivals, poems)
    registry.stage_started("one", stage="train", sequence="assistant", task="poems")
    arrivals.cancel(poems, "ann")
    arrivals.cancelled(fence, "asked")
    assert hand(registry).in_hand is None
    registry.stage_started("two", stage="train", sequence="assistant", task="poems")
    found = hand(registry).in_hand
    assert found is not None
    assert not found.queued  # begun after it


def test_what_waits_for_its_time_says_until_when(arrivals: Arrivals) -> None:
    [poems] = arrive(arrivals, "poems")
    fence = taken(arrivals, poems)
    arrivals.give_back(fence, "the server was away", wait=timedelta(minutes=3))
    [item] = hand(arrivals.registry).items
    assert (item.state, item.reason, item.attempt) == ("waiting", "the server was away", 1)
    assert item.not_before is not None
    assert timedelta(minutes=2) < item.not_before - now() < timedelta(minutes=4)
    end_wait(arrivals.registry, poems)
    again = taken(arrivals, poems)
    arrivals.cancel(poems, "ann")
    [item] = hand(arrivals.registry).items
    assert item.cancelling
    arrivals.cancelled(again, "asked")
    assert hand(arrivals.registry).items == ()


# The sums


def test_a_stage_goes_on_at_the_pace_it_had() -> None:
    told = {"stage": "train", "done": 30, "total": 120, "since": NOON.isoformat(), "text": "loss"}
    found = progress_of(told, NOON + timedelta(seconds=60))
    assert found is not None
    assert found.seconds_left == 180  # 2 s for each of the 90 that are left
    assert progress_of({}, NOON) is None
    for unknown in ({"done": 0}, {"total": 0}, {"since": None}, {"done": "many"}):
        told_less = progress_of({**told, **unknown}, NOON)
        assert told_less is not None
        assert told_less.seconds_left is None


def test_a_task_takes_what_those_took_that_ended() -> None:
    minute = timedelta(minutes=1)
    assert mean_seconds([]) is None
    assert mean_seconds([(NOON, None), (None, NOON)]) is None
    assert mean_seconds([(NOON, NOON + minute), (NOON, NOON + 3 * minute), (NOON, None)]) == 120


def test_each_is_learned_after_those_before_it() -> None:
    def task(state: str, **known: object) -> QueuedTask:
        made = dict.fromkeys(QueuedTask.__slots__, None)
        return QueuedTask(**{**made, "state": state, "held": False, **known})  # type: ignore[arg-type]

    there = [
        task("running", started=NOON - timedelta(minutes=4)),
        task("waiting"),
        task("waiting", held=True),
        task("failed"),
        task("waiting", not_before=NOON + timedelta(hours=1)),
    ]
    minutes = [
        None if when is None else (when - NOON) / timedelta(minutes=1)
        for when in expected_times(there, 600, NOON)
    ]
    assert minutes == [6, 16, None, None, 70]
    assert expected_times(there, None, NOON) == (None,) * 5
    late = [task("running", started=NOON - timedelta(hours=1)), task("waiting")]
    assert expected_times(late, 600, NOON) == (NOON, NOON + timedelta(minutes=10))


def test_a_run_that_is_not_heard_of_tells_nothing_of_what_is_left(arrivals: Arrivals) -> None:
    learn(arrivals, "before", sequence="quiet")
    there = arrive(arrivals, "one", "two", sequence="quiet")
    fence = taken(arrivals, there[0])
    began = (now() - timedelta(seconds=60)).isoformat()
    arrivals.renew(fence, {"stage": "train", "done": 30, "total": 120, "since": began})
    people = Queue(arrivals.registry, owner())
    for later, silent in ((5, None), (25, None), (41, 41), (55, 55)):
        at = now() + timedelta(seconds=later)
        item, behind = sequence_queue(arrivals.registry, "quiet", at).items
        told = queue_standing(people, "quiet", at)["items"][0]
        assert item.progress is not None
        assert told["progress"] is not None
        left = item.progress.seconds_left
        assert (left, item.silent_seconds) == (
            told["progress"]["seconds_left"],
            told["silent_seconds"],
        )
        if silent is None:
            assert left == pytest.approx(180, abs=15)  # it does not grow with the time
            assert item.silent_seconds is None
            assert behind.expected is not None
        else:
            assert left is None
            assert item.silent_seconds == pytest.approx(silent, abs=5)
            assert item.expected is behind.expected is None


def test_only_what_runs_can_be_silent() -> None:
    late = NOON + timedelta(seconds=40)
    assert silent_seconds("running", NOON, late) == 40
    assert silent_seconds("running", NOON, NOON + timedelta(seconds=20)) is None
    assert silent_seconds("waiting", NOON, late) is None
    assert silent_seconds("running", None, late) is None
