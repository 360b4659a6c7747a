"""Who may do what with the queue: each verb asks the role, and what is done carries the actor's name."""

import inspect
from collections.abc import Callable

import pytest
from arrival_cases import arrive, new_task, taken

from lori_core.errors import CheckFailed, NotFound
from registry.arrivals import Arrivals
from registry.decisions import Actor, Role
from registry.queueing import Queue
from registry.roles import ROLES

READ = {
    "submissions": lambda queue: queue.submissions(5),
    "submission": lambda queue: queue.submission(1),
    "arrival": lambda queue: queue.arrival(1),
    "arrivals": lambda queue: queue.arrivals("assistant", states=["waiting"], last=1),
    "blocked": lambda queue: queue.blocked(),
    "held_sequences": lambda queue: queue.held_sequences(),
    "watches": lambda queue: queue.watches(),
}
CHANGE = {
    "submit": lambda queue: queue.submit({}, source="api", folder=None, priority=1, again=True),
    "cancel": lambda queue: queue.cancel(1),
    "retry": lambda queue: queue.retry(2),
    "hold": lambda queue: queue.hold(1),
    "release": lambda queue: queue.release(3),
    "hold_sequence": lambda queue: queue.hold_sequence("second", "not now"),
    "release_sequence": lambda queue: queue.release_sequence("held"),
    "watch": lambda queue: queue.watch("/drop", 1),
    "unwatch": lambda queue: queue.unwatch("/watched"),
}


@pytest.fixture
def queued(arrivals: Arrivals) -> Arrivals:
    """One that waits, one that failed, one that is held, a held sequence, a watched folder."""
    arrive(arrivals, "waiting")
    (failed,) = arrive(arrivals, "failed", sequence="second")
    (held,) = arrive(arrivals, "held", sequence="third")
    arrivals.hold(held, "ann")
    arrivals.hold_sequence("assistant", "at first", "ann")
    arrivals.hold_sequence("held", "at first", "ann")
    arrivals.failed(taken(arrivals, failed), "bad rows")
    arrivals.watch("/watched", 0, "ann")
    return arrivals


def sit(arrivals: Arrivals, role: Role) -> Queue:
    return Queue(arrivals.registry, Actor(name="tom", role=role, account=True))


def test_every_verb_is_here() -> None:
    verbs = {name for name, _ in inspect.getmembers(Queue, inspect.isfunction) if name[0] != "_"}
    assert verbs == {*READ, *CHANGE}


@pytest.mark.parametrize("verb", READ)
def test_everybody_sees_the_queue(queued: Arrivals, verb: str) -> None:
    for role in ROLES:
        READ[verb](sit(queued, role))


@pytest.mark.parametrize("verb", CHANGE)
def test_who_trains_changes_the_queue_and_nobody_else_does(queued: Arrivals, verb: str) -> None:
    before = everything(queued)
    for role in ("viewer", "reviewer", "promoter"):
        with pytest.raises(CheckFailed, match=f"tom is a {role}; to .* takes trainer or admin"):
            CHANGE[verb](sit(queued, role))
    assert everything(queued) == before
    CHANGE[verb](sit(queued, "trainer"))
    assert everything(queued) != before


def everything(arrivals: Arrivals) -> tuple[object, ...]:
    return (
        arrivals.received(),
        arrivals.arrivals(),
        arrivals.held_sequences(),
        arrivals.watches(),
    )


@pytest.mark.parametrize(
    ("told", "by"),
    [
        (lambda queue: queue.submit({}, source="api", folder=None).submitted_by, "tom"),
        (lambda queue: queue.cancel(1).reason, "cancelled by tom"),
        (lambda queue: queue.retry(2).reason, "retried by tom"),
        (lambda queue: queue.hold(1).reason, "held by tom"),
        (lambda queue: queue.hold_sequence("second", "not now").by, "tom"),
        (lambda queue: queue.watch("/drop").submitted_by, "tom"),
    ],
)
def test_what_is_done_carries_the_name_of_who_did_it(
    queued: Arrivals, told: Callable[[Queue], object], by: str
) -> None:
    assert told(sit(queued, "admin")) == by


@pytest.mark.parametrize(
    "verb",
    [
        lambda queue: queue.hold_sequence("asistant", "not now"),
        lambda queue: queue.release_sequence("asistant"),
    ],
)
def test_a_sequence_of_which_nothing_is_known_is_refused(
    queued: Arrivals, verb: Callable[[Queue], object]
) -> None:
    before = everything(queued)
    with pytest.raises(NotFound, match="sequence 'asistant': expected a sequence"):
        verb(sit(queued, "trainer"))
    assert everything(queued) == before


def test_a_task_sent_through_the_queue_is_learned_in_its_turn(queued: Arrivals) -> None:
    sent = sit(queued, "trainer").submit({"sequence": "new"}, source="event", folder="/files")
    queued.accept(sent.id, [new_task("sql", sequence="new")], {})
    (made,) = sit(queued, "viewer").submission(sent.id).outcome
    assert made.arrival is not None
    queued.learned(taken(queued, made.arrival), 1)
    assert sit(queued, "viewer").arrival(made.arrival).version == 1
