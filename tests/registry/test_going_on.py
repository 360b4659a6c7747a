"""What a run that learned its arrival may take next: as the dispatcher would, and nobody starves."""

from collections.abc import Callable

import pytest
from arrival_cases import arrive, new_task, running, send, taken

from registry.arrivals import Arrivals, Fence, FenceLost, NewTask


def gpu_task(name: str, sequence: str, queue: str) -> NewTask:
    plain = new_task(name, sequence)
    return NewTask(
        sequence=sequence,
        task=name,
        document=plain.document,
        content=plain.content,
        data=plain.data,
        queue=queue,
    )


def test_the_next_one_is_taken_with_the_end_of_the_one_before(arrivals: Arrivals) -> None:
    fence = running(arrivals, "a", "b")
    assert arrivals.goes_on(fence)
    after = arrivals.learned_and_next(fence, 1, "host-1")
    assert after is not None
    assert (after.task, after.state, after.holder) == ("b", "running", "host-1")
    assert (after.token, after.attempt, after.flow_run_id) == (1, 1, None)
    assert arrivals.arrival(fence.arrival).state == "learned"
    assert arrivals.dispatch() == (), "it is out, and waits for no flow run of the dispatcher's"
    arrivals.note_flow_run(after.id, after.token, "run")
    again = arrivals.take(after.id, after.token, "host-1")
    with pytest.raises(FenceLost, match="host-1 runs it"):
        arrivals.take(after.id, after.token, "host-2")
    assert not arrivals.goes_on(again)
    assert arrivals.learned_and_next(again, 2, "host-1") is None
    assert arrivals.learned_and_next(again, 2, "host-1") is None, "said twice, once is enough"
    assert [each.state for each in arrivals.arrivals()] == ["learned", "learned"]


def test_a_higher_priority_comes_first_also_where_its_number_is_higher(arrivals: Arrivals) -> None:
    fence = running(arrivals, "a", "b")
    (urgent,) = arrive(arrivals, "c", priority=7)
    after = arrivals.learned_and_next(fence, 1, "host-1")
    assert after is not None
    assert after.id == urgent
    last = arrivals.learned_and_next(Fence(arrival=after.id, token=after.token), 2, "host-1")
    assert last is not None
    assert last.task == "b", "an older number after a newer one"


def hold_the_sequence(arrivals: Arrivals, following: int) -> None:
    arrivals.hold_sequence("assistant", "quiet", "ann")


def block(arrivals: Arrivals, following: int) -> None:
    """A failed arrival of the sequence waits for a person."""
    (urgent,) = arrive(arrivals, "urgent", priority=9)
    arrivals.cancel(urgent, "ann")
    (failed,) = arrive(arrivals, "failed", sequence="assistant")
    with arrivals._database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE arrivals SET state = 'failed' WHERE id = {failed}")


def wait_for_a_time(arrivals: Arrivals, following: int) -> None:
    later = "2999-01-01 00:00:00.000000" if arrivals._database.is_sqlite else "2999-01-01 00:00+00"
    with arrivals._database.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE arrivals SET not_before = '{later}' WHERE id = {following}"
        )


def another_waits(arrivals: Arrivals, following: int) -> None:
    arrive(arrivals, "a", sequence="another", priority=-5)


def another_was_given_out(arrivals: Arrivals, following: int) -> None:
    arrive(arrivals, "a", sequence="another")
    assert len(arrivals.dispatch()) == 1


@pytest.mark.parametrize(
    "circumstance",
    [hold_the_sequence, block, wait_for_a_time, another_waits, another_was_given_out],
)
def test_a_run_does_not_go_on(
    arrivals: Arrivals, circumstance: Callable[[Arrivals, int], None]
) -> None:
    fence = running(arrivals, "a", "b")
    circumstance(arrivals, 2)
    assert not arrivals.goes_on(fence)
    assert arrivals.learned_and_next(fence, 1, "host-1") is None
    assert arrivals.arrival(fence.arrival).state == "learned"
    assert arrivals.arrival(2).state == "waiting"


def test_a_held_one_is_passed_over(arrivals: Arrivals) -> None:
    fence = running(arrivals, "a", "b", "c")
    arrivals.hold(2, "ann")
    after = arrivals.learned_and_next(fence, 1, "host-1")
    assert after is not None
    assert after.task == "c"


def test_one_that_another_worker_runs_keeps_nobody_waiting(arrivals: Arrivals) -> None:
    fence = running(arrivals, "a", "b")
    (other,) = arrive(arrivals, "a", sequence="another")
    taken(arrivals, other, "host-2")
    assert arrivals.goes_on(fence)


def test_only_who_waits_for_such_a_worker_counts_and_another_queue_is_left_to_it(
    arrivals: Arrivals,
) -> None:
    send(arrivals, gpu_task("a", "here", "gpu-1"), gpu_task("b", "here", "gpu-1"))
    fence = taken(arrivals, 1)
    arrive(arrivals, "a", sequence="another")  # for a worker without a GPU
    assert arrivals.goes_on(fence)
    send(arrivals, gpu_task("c", "here", "gpu-2"), priority=1)
    assert not arrivals.goes_on(fence), "the next one needs two"
    arrivals.cancel(4, "ann")
    assert arrivals.goes_on(fence)
    send(arrivals, gpu_task("a", "two", "gpu-2"))
    assert not arrivals.goes_on(fence), "it may wait for the very GPU of this run"


def test_who_lost_his_turn_goes_on_with_nothing(arrivals: Arrivals) -> None:
    fence = running(arrivals, "a", "b")
    arrivals.lost(fence.arrival, fence.token, "killed")
    with pytest.raises(FenceLost):
        arrivals.goes_on(fence)
    with pytest.raises(FenceLost):
        arrivals.learned_and_next(fence, 1, "host-1")
    assert arrivals.arrival(2).state == "waiting"
