"""Order, exclusion, and what becomes of an arrival, on both databases and between real processes."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pytest
from arrival_cases import (
    arrive,
    end_lease,
    end_wait,
    running,
    taken,
    work_until_done,
)
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from lori_core.errors import BadInput, NotFound
from registry import outbox
from registry.arrivals import LEASE, Arrivals, FenceLost, in_turn, wait_after

SECOND = timedelta(seconds=1)


def states(arrivals: Arrivals) -> list[str]:
    return [each.state for each in arrivals.arrivals()]


def out(arrivals: Arrivals) -> list[int]:
    return [each.id for each in arrivals.dispatch()]


# Order


def test_the_order_within_a_sequence_is_that_of_priority_and_then_of_arrival(
    arrivals: Arrivals,
) -> None:
    chance = random.Random(7)
    waiting: dict[str, list[tuple[int, int]]] = defaultdict(list)
    count, done = 0, 0
    while done < 40:
        if count < 40 and chance.random() < 0.6:
            sequence, priority = chance.choice("abc"), chance.choice([-1, 0, 0, 5])
            (made,) = arrive(arrivals, f"t{count}", sequence=sequence, priority=priority)
            waiting[sequence].append((-priority, made))
            count += 1
            continue
        expected = {min(each)[1] for each in waiting.values() if each}
        given = {each.id: each for each in arrivals.dispatch()}
        assert set(given) == expected
        for each in given.values():
            fence = arrivals.take(each.id, each.token, "here")
            arrivals.learned(fence, version=1)
            waiting[each.sequence].remove((-each.priority, each.id))
            done += 1


def test_a_queue_is_listed_as_it_came_and_shown_in_the_order_of_turns(arrivals: Arrivals) -> None:
    low, high = arrive(arrivals, "low"), arrive(arrivals, "high", priority=3)
    assert [each.id for each in arrivals.arrivals()] == [*low, *high]
    assert [each.id for each in in_turn(arrivals.arrivals())] == [*high, *low]
    assert [each.id for each in arrivals.arrivals(last=1)] == high
    assert arrivals.arrivals("assistant", states=["failed"]) == ()
    assert arrivals.arrivals("another") == ()
    with pytest.raises(BadInput, match="sequence name"):
        arrivals.arrivals("No Name")


def test_sequences_go_side_by_side_and_each_has_one_at_a_time(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "a", "b", sequence="one")
    (other,) = arrive(arrivals, "a", sequence="two", priority=2)
    assert out(arrivals) == [other, first]
    fence = arrivals.take(first, 1, "host-1")
    assert out(arrivals) == [other]
    arrivals.learned(fence, 1)
    assert out(arrivals) == [other, second]


def test_the_database_itself_refuses_a_second_one_out(arrivals: Arrivals) -> None:
    arrive(arrivals, "a", "b")
    arrivals.dispatch()
    with pytest.raises(IntegrityError), arrivals.registry._database.engine.begin() as connection:
        connection.execute(text("UPDATE arrivals SET state = 'running' WHERE task = 'b'"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [4])
def test_many_processes_learn_each_arrival_once_in_order_and_never_two_of_a_sequence_at_once(
    arrivals: Arrivals, home: Path, tmp_path: Path, workers: int
) -> None:
    wanted: dict[str, list[int]] = defaultdict(list)
    for turn in range(5):
        for sequence in ("a", "b", "c"):
            wanted[sequence] += arrive(arrivals, f"t{turn}", sequence=sequence)
    log = tmp_path / "log"
    context = get_context("spawn")
    processes = [
        context.Process(target=work_until_done, args=(home, log, f"worker-{number}"))
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * workers
    told: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for line in log.read_text().splitlines():
        sequence, what, arrival_id, worker = line.split()
        told[sequence].append((what, int(arrival_id), worker))
    for sequence, ids in wanted.items():
        turns = [(what, arrival_id) for what, arrival_id, _ in told[sequence]]
        assert turns == [(what, each) for each in ids for what in ("begin", "end")]
        for begun, ended in pairwise(told[sequence]):
            assert begun[0] != "begin" or begun[2] == ended[2]
    assert {each.attempt for each in arrivals.arrivals()} == {1}
    assert set(states(arrivals)) == {"learned"}


# What waits


def test_a_failed_arrival_blocks_its_sequence_until_it_is_retried(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "a", "b")
    (other,) = arrive(arrivals, "a", sequence="other")
    arrivals.failed(taken(arrivals, first), "bad rows")
    assert out(arrivals) == [other]
    assert arrivals.blocked() == {"assistant": first}
    retried = arrivals.retry(first, "ann")
    assert (retried.state, retried.attempt, retried.reason) == ("waiting", 0, "retried by ann")
    assert arrivals.blocked() == {}
    arrivals.learned(taken(arrivals, first), 1)
    assert out(arrivals) == [other, second] or out(arrivals) == [second, other]


def test_cancelling_a_failed_arrival_lets_the_next_one_go(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "a", "b")
    arrivals.failed(taken(arrivals, first), "bad rows")
    arrivals.cancel(first, "ann")
    assert out(arrivals) == [second]


def test_a_held_arrival_is_passed_over_and_has_its_turn_again(arrivals: Arrivals) -> None:
    first, second, third = arrive(arrivals, "a", "b", "c")
    assert arrivals.hold(first, "ann").held
    arrivals.learned(taken(arrivals, second), 1)
    with pytest.raises(BadInput, match="arrival 1 is held already"):
        arrivals.hold(first, "ann")
    assert not arrivals.release(first, "bob").held
    with pytest.raises(BadInput, match=r"arrival 1 .*expected one that is held"):
        arrivals.release(first, "bob")
    arrivals.learned(taken(arrivals, first), 2)
    assert out(arrivals) == [third]
    with pytest.raises(BadInput, match="arrival 3 is dispatched: it cannot be held"):
        arrivals.hold(third, "ann")


def test_a_held_sequence_gives_nothing_out_and_what_is_out_goes_on(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "a", "b")
    fence = taken(arrivals, first)
    held = arrivals.hold_sequence("assistant", "the rows are being checked", "ann")
    assert arrivals.held_sequences() == (held,)
    with pytest.raises(BadInput, match="'assistant' is held by ann"):
        arrivals.hold_sequence("assistant", "me too", "bob")
    arrivals.learned(fence, 1)
    assert out(arrivals) == []
    arrivals.release_sequence("assistant", "bob")
    assert out(arrivals) == [second]
    with pytest.raises(BadInput, match="'assistant': expected one that is held"):
        arrivals.release_sequence("assistant", "bob")


def test_one_that_waits_for_its_time_is_not_overtaken(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "a", "b")
    arrivals.give_back(taken(arrivals, first), "MLflow is away", wait=60 * SECOND)
    assert out(arrivals) == []
    (urgent,) = arrive(arrivals, "urgent", priority=1)
    arrivals.learned(taken(arrivals, urgent), 1)
    assert out(arrivals) == []
    end_wait(arrivals.registry, first)
    assert out(arrivals) == [first]
    assert arrivals.arrival(second).state == "waiting"


def test_a_person_ends_the_wait_of_one_that_was_put_back(arrivals: Arrivals) -> None:
    fence = running(arrivals)
    arrivals.give_back(fence, "MLflow is away", wait=60 * SECOND)
    arrivals.retry(fence.arrival, "ann")
    assert out(arrivals) == [fence.arrival]


# Tokens and leases


def test_what_was_dispatched_comes_again_under_the_same_token_until_its_run_is_noted(
    arrivals: Arrivals,
) -> None:
    (wanted,) = arrive(arrivals, "a")
    (first,) = arrivals.dispatch()
    assert arrivals.dispatch() == (first,)
    assert (first.token, first.attempt, first.state) == (1, 1, "dispatched")
    arrivals.note_flow_run(wanted, 1, "run-1")
    assert arrivals.dispatch() == ()
    assert arrivals.arrival(wanted).flow_run_id == "run-1"
    arrivals.note_flow_run(wanted, 0, "an older one")
    assert arrivals.arrival(wanted).flow_run_id == "run-1"


def test_a_turn_is_taken_once_and_under_the_token_it_was_given_out_with(arrivals: Arrivals) -> None:
    (wanted,) = arrive(arrivals, "a")
    with pytest.raises(FenceLost, match=r"token 1: it is at token 0 \(waiting\)"):
        arrivals.take(wanted, 1, "host-1")
    arrivals.dispatch()
    with pytest.raises(FenceLost):
        arrivals.take(wanted, 2, "host-1")
    fence = arrivals.take(wanted, 1, "host-1")
    assert arrivals.take(wanted, 1, "host-1") == fence
    with pytest.raises(FenceLost, match="host-1 runs it"):
        arrivals.take(wanted, 1, "host-2")
    with pytest.raises(NotFound, match="arrival 9"):
        arrivals.take(9, 1, "host-1")


def test_a_heartbeat_keeps_the_turn_for_a_lease_and_says_how_far_the_run_is(
    arrivals: Arrivals,
) -> None:
    fence = running(arrivals)
    assert arrivals.renew(fence, {"step": 3, "loss": float("inf"), "of": [float("nan")]}) is False
    row = arrivals.arrival(fence.arrival)
    assert row.progress == {"step": 3, "loss": None, "of": [None]}
    assert row.heartbeat is not None
    assert row.lease_until == row.heartbeat + LEASE


def test_a_lease_that_is_over_cannot_be_renewed_and_gives_the_turn_to_another(
    arrivals: Arrivals,
) -> None:
    fence = running(arrivals, "a", "b")
    assert arrivals.expire() == ()
    end_lease(arrivals.registry, fence.arrival)
    with pytest.raises(FenceLost, match="its lease was over"):
        arrivals.renew(fence, {})
    (put_back,) = arrivals.expire()
    assert (put_back.state, put_back.token) == ("waiting", fence.token + 1)
    assert put_back.reason is not None
    assert put_back.reason.startswith("its run on host-1 was last heard of at ")
    assert put_back.not_before is not None
    assert out(arrivals) == []
    end_wait(arrivals.registry, fence.arrival)
    newer = taken(arrivals, fence.arrival, "host-2")
    assert newer.token > fence.token
    for late in (
        lambda: arrivals.renew(fence, {}),
        lambda: arrivals.cancel_requested(fence),
        lambda: arrivals.learned(fence, 1),
        lambda: arrivals.failed(fence, "x"),
        lambda: arrivals.cancelled(fence, "x"),
        lambda: arrivals.give_back(fence, "x", wait=SECOND),
        lambda: arrivals.take(fence.arrival, fence.token, "host-1"),
    ):
        with pytest.raises(FenceLost):
            late()
    arrivals.learned(newer, 1)


def test_waits_double_up_to_ten_minutes() -> None:
    seconds = [wait_after(attempt) / SECOND for attempt in range(1, 10)]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_an_arrival_whose_runs_end_without_a_word_fails_at_the_eighth_and_people_are_told(
    arrivals: Arrivals,
) -> None:
    outbox.add(
        arrivals.registry, "us", "http://us.example/", kinds=["arrival-failed", "arrival-stuck"]
    )
    (wanted,) = arrive(arrivals, "a")
    for attempt in range(1, 9):
        fence = taken(arrivals, wanted)
        assert arrivals.arrival(wanted).attempt == attempt
        if attempt % 2:
            end_lease(arrivals.registry, wanted)
            (after,) = arrivals.expire()
        else:
            after = arrivals.lost(wanted, fence.token, "its flow run crashed")
        assert after.token == fence.token + 1
        assert (after.state == "failed") == (attempt == 8)
        if attempt < 8:
            end_wait(arrivals.registry, wanted)
    assert after.reason == "8 attempts ended without a word; of the last: its flow run crashed"
    assert [each.kind for each in outbox.undelivered(arrivals.registry)] == [
        "arrival-stuck",
        "arrival-failed",
    ]
    assert arrivals.blocked() == {"assistant": wanted}


def test_a_run_that_crashed_before_its_turn_was_taken_is_put_back_once(arrivals: Arrivals) -> None:
    (wanted,) = arrive(arrivals, "a")
    (given,) = arrivals.dispatch()
    put_back = arrivals.lost(wanted, given.token, "crashed")
    assert (put_back.state, put_back.reason) == ("waiting", "crashed")
    assert arrivals.lost(wanted, given.token, "crashed") == put_back


def test_an_orderly_leave_is_no_attempt_and_the_next_one_goes_on_at_once(
    arrivals: Arrivals,
) -> None:
    (wanted,) = arrive(arrivals, "a")
    tokens = set()
    for _ in range(12):
        fence = taken(arrivals, wanted)
        assert arrivals.arrival(wanted).attempt == 1
        arrivals.give_back(fence, "the worker leaves", wait=timedelta(0))
        tokens.add(fence.token)
    assert len(tokens) == 12


def test_what_may_pass_is_tried_for_ever_and_somebody_is_told_once(arrivals: Arrivals) -> None:
    outbox.add(arrivals.registry, "us", "http://us.example/")
    (wanted,) = arrive(arrivals, "a")
    for attempt in range(1, 12):
        arrivals.give_back(taken(arrivals, wanted), "MLflow is away", wait=wait_after(attempt))
        end_wait(arrivals.registry, wanted)
    assert arrivals.arrival(wanted).attempt == 11
    assert [each.kind for each in outbox.undelivered(arrivals.registry)] == ["arrival-stuck"]


def test_an_outage_however_long_leaves_all_attempts_to_what_is_killed(arrivals: Arrivals) -> None:
    (wanted,) = arrive(arrivals, "a")
    for attempt in range(1, 12):
        arrivals.give_back(taken(arrivals, wanted), "MLflow is away", wait=wait_after(attempt))
        end_wait(arrivals.registry, wanted)
    states = []
    for killed in range(1, 9):
        fence = taken(arrivals, wanted)
        if killed % 2:
            arrivals.give_back(fence, "its child was killed", wait=SECOND, lost=True)
        else:
            arrivals.lost(wanted, fence.token, "killed")
        after = arrivals.arrival(wanted)
        states.append((after.state, after.lost))
        end_wait(arrivals.registry, wanted)
    assert states == [*(("waiting", killed) for killed in range(1, 8)), ("failed", 8)]
    again = arrivals.retry(wanted, "ann")
    assert (again.attempt, again.lost) == (0, 0)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (lambda arrivals, fence: arrivals.learned(fence, 7), "learned"),
        (lambda arrivals, fence: arrivals.failed(fence, "bad rows"), "failed"),
        (lambda arrivals, fence: arrivals.cancelled(fence, "as asked"), "cancelled"),
    ],
    ids=["learned", "failed", "cancelled"],
)
def test_an_end_whose_answer_was_lost_may_be_said_again(
    arrivals: Arrivals, said: Callable[[Arrivals, object], None], state: str
) -> None:
    outbox.add(arrivals.registry, "us", "http://us.example/")
    fence = running(arrivals)
    said(arrivals, fence)
    once = arrivals.arrival(fence.arrival)
    assert (once.state, once.lease_until) == (state, None)
    assert once.finished is not None
    said(arrivals, fence)
    assert arrivals.arrival(fence.arrival) == once
    assert len(outbox.undelivered(arrivals.registry)) == (1 if state == "failed" else 0)


# Cancelling


def test_what_does_not_run_is_cancelled_at_once(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "a", "b")
    (given,) = arrivals.dispatch()
    assert arrivals.cancel(second, "ann").state == "cancelled"
    assert arrivals.cancel(first, "ann").state == "cancelled"
    with pytest.raises(FenceLost):
        arrivals.take(first, given.token, "host-1")
    with pytest.raises(BadInput, match="arrival 1 is cancelled: it cannot be cancelled"):
        arrivals.cancel(first, "ann")
    with pytest.raises(NotFound, match="arrival 9"):
        arrivals.cancel(9, "ann")


@pytest.mark.parametrize("end", ["says so", "is silent", "crashes", "fails", "leaves"])
def test_a_running_one_is_asked_to_end_and_is_cancelled_however_it_ends(
    arrivals: Arrivals, end: str
) -> None:
    fence = running(arrivals)
    assert not arrivals.cancel_requested(fence)
    asked = arrivals.cancel(fence.arrival, "ann")
    assert (asked.state, asked.cancel_requested) == ("running", True)
    assert arrivals.cancel_requested(fence)
    assert arrivals.renew(fence, {})
    if end == "says so":
        arrivals.cancelled(fence, "cancelled while it ran")
    elif end == "is silent":
        end_lease(arrivals.registry, fence.arrival)
        arrivals.expire()
    elif end == "crashes":
        arrivals.lost(fence.arrival, fence.token, "crashed")
    elif end == "fails":
        arrivals.failed(fence, "bad rows")
    else:
        arrivals.give_back(fence, "the worker leaves", wait=timedelta(0))
    ended = arrivals.arrival(fence.arrival)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled by ann")
    assert arrivals.retry(fence.arrival, "bob").state == "waiting"
    newer = taken(arrivals, fence.arrival)
    assert newer.token > fence.token
    assert not arrivals.cancel_requested(newer)


def test_what_was_learned_before_the_cancel_came_through_stays_learned(arrivals: Arrivals) -> None:
    fence = running(arrivals)
    arrivals.cancel(fence.arrival, "ann")
    arrivals.learned(fence, 1)
    assert arrivals.arrival(fence.arrival).state == "learned"
    for verb in (arrivals.cancel, arrivals.retry, arrivals.hold):
        with pytest.raises(BadInput, match="arrival 1 is learned: it cannot be"):
            verb(fence.arrival, "ann")
