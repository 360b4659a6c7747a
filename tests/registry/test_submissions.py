"""What is sent: received, then arrivals or refused; the same content twice is one arrival."""

import pytest
from arrival_cases import new_task, send, taken

from lori_core.errors import BadInput, NotFound
from registry.arrivals import Arrivals


def test_a_submission_waits_until_it_is_accepted_or_refused(arrivals: Arrivals) -> None:
    document = {"sequence": "assistant", "tasks": [{"name": "sql", "rate": 5e-5}]}
    first = arrivals.receive(
        document, source="api", folder=None, priority=-2, again=True, submitted_by="ann"
    )
    second = arrivals.receive({}, source="event", folder="/drop", submitted_by="bob")
    assert arrivals.received() == (first, second)
    assert (first.document, first.priority, first.again, first.state) == (
        document, -2, True, "received",
    )  # fmt: skip
    refused = arrivals.refuse(second.id, "no such file\nor folder \x00")
    assert (refused.state, refused.reason) == ("refused", "no such file or folder")
    assert refused.settled is not None
    assert arrivals.received() == (first,)
    assert arrivals.refuse(second.id, "another reason") == refused
    with pytest.raises(BadInput, match="submission 2 is refused"):
        arrivals.accept(second.id, [new_task("sql")], {})
    accepted = arrivals.accept(first.id, [new_task("sql")], {"math": 3})
    assert accepted == arrivals.submission(first.id)
    assert [(each.task, each.arrival, each.version, each.new) for each in accepted.outcome] == [
        ("math", None, 3, False),
        ("sql", 1, None, True),
    ]
    assert arrivals.accept(first.id, [new_task("sql"), new_task("more")], {}) == accepted
    with pytest.raises(BadInput, match="submission 1 is accepted"):
        arrivals.refuse(first.id, "too late")
    assert len(arrivals.arrivals()) == 1
    assert arrivals.arrival(1).priority == -2
    assert arrivals.arrival(1).submission_id == first.id


@pytest.mark.parametrize(
    ("document", "folder", "priority", "by", "said"),
    [
        ({"rate": float("nan")}, None, 0, "ann", "document .*plain JSON"),
        ({"when": object()}, None, 0, "ann", "document .*plain JSON"),
        ({}, "fol\x00der", 0, "ann", r"folder with the character U\+0000"),
        ({}, None, 2**40, "ann", "priority"),
        ({}, None, 0, "", "name is empty"),
    ],
)
def test_what_no_column_holds_is_refused_in_one_line(
    arrivals: Arrivals, document: dict[str, object], folder: str | None, priority: int, by: str,
    said: str,
) -> None:  # fmt: skip
    with pytest.raises(BadInput, match=said):
        arrivals.receive(document, source="api", folder=folder, priority=priority, submitted_by=by)
    assert arrivals.received() == ()


def test_the_same_content_twice_is_one_arrival_unless_it_says_again(arrivals: Arrivals) -> None:
    send(arrivals, new_task("sql"))
    for state in ("waiting", "failed", "learned"):
        if state == "failed":
            arrivals.failed(taken(arrivals, 1), "bad rows")
        if state == "learned":
            arrivals.retry(1, "ann")
            arrivals.learned(taken(arrivals, 1), 4)
        (outcome,) = send(arrivals, new_task("renamed", content="sql")).outcome
        assert (outcome.task, outcome.arrival, outcome.new) == ("sql", 1, False)
        assert outcome.version == (4 if state == "learned" else None)
    (again,) = send(arrivals, new_task("sql-2", content="sql"), again=True).outcome
    assert (again.arrival, again.new) == (2, True)
    twice = send(arrivals, new_task("x"), new_task("y", content="x")).outcome
    assert [(each.task, each.new) for each in twice] == [("x", True), ("x", False)]


def test_what_was_cancelled_may_be_sent_again(arrivals: Arrivals) -> None:
    send(arrivals, new_task("sql"))
    arrivals.cancel(1, "ann")
    (outcome,) = send(arrivals, new_task("sql")).outcome
    assert (outcome.arrival, outcome.new) == (2, True)
    with pytest.raises(BadInput, match=r"task 'sql' of assistant: arrival 2 \(waiting\) has this"):
        arrivals.retry(1, "ann")


def test_a_submission_makes_all_of_its_arrivals_or_none(arrivals: Arrivals) -> None:
    send(arrivals, new_task("sql"))
    received = arrivals.receive({}, source="command", folder=None, submitted_by="ann")
    with pytest.raises(BadInput, match=r"task 'sql' of assistant: arrival 1 \(waiting\)"):
        arrivals.accept(received.id, [new_task("new"), new_task("sql", content="other")], {})
    assert len(arrivals.arrivals()) == 1
    assert arrivals.received() == (received,)


def test_a_folder_keeps_every_space_it_has(arrivals: Arrivals) -> None:
    odd = "/data/two  spaces "
    received = arrivals.receive({}, source="event", folder=odd, submitted_by="ann")
    assert arrivals.submission(received.id).folder == odd
    assert arrivals.watch(odd, 0, "ann").folder == odd
    arrivals.unwatch(odd)
    assert arrivals.watches() == ()


def test_a_folder_is_watched_once_and_no_longer_when_that_is_said(arrivals: Arrivals) -> None:
    arrivals.watch("/drop", 0, "ann")
    arrivals.watch("/drop", 4, "bob")
    (watch,) = arrivals.watches()
    assert (watch.folder, watch.priority, watch.submitted_by) == ("/drop", 4, "bob")
    arrivals.unwatch("/drop")
    assert arrivals.watches() == ()
    with pytest.raises(NotFound, match="'/drop': expected one that is watched"):
        arrivals.unwatch("/drop")
