"""The registry in numbers, held to what its own readers say, on both stores."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from arrival_cases import arrive, taken
from decision_cases import ADA, ANN, BEN, TOM, learn, measured
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from sqlalchemy import event, text

from lori_core.digests import sha256_json
from lori_core.errors import CheckFailed
from lori_core.forgetting import ScoreMatrix
from registry import outbox
from registry.arrivals import Arrivals
from registry.clock import now
from registry.desk import Desk
from registry.score_curves import Earlier
from registry.store import Registry, open_registry
from registry.totals import BUCKETS, totals
from registry.worst_forgetting import WorstForgetting


@pytest.fixture
def registry(tables_kind: str, home: Path, tmp_path: Path) -> Iterator[Registry]:
    store = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=store, aliases=FakeAliases()) as registry:
        yield registry


@contextmanager
def queries(registry: Registry) -> Iterator[list[str]]:
    """Every statement that is sent meanwhile."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(registry._database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(registry._database.engine, "before_cursor_execute", note)


def score(
    registry: Registry,
    version: int,
    task: str,
    value: float,
    *,
    name: str = "assistant",
    read: str = "inherited",
    rows: str | None = None,
    under: str | None = None,
) -> None:
    cell = measured(registry, name, version, task, read, score=0)
    registry.record_cell(
        replace(
            cell,
            key=sha256_json([name, version, task, read, value, rows, under]),
            read=read,
            value=value,
            adapter_of=under,
            effective_digest=sha256_json([name, version]),
            test_digest=rows or cell.test_digest,
        )
    )


def by_the_matrix(registry: Registry, name: str) -> float | None:
    """The same by the formula everybody uses."""
    cells = registry.matrix_cells(name, "inherited")
    filed = sum(each.state == "registered" for each in registry.versions(name))
    rows = tuple(
        tuple(None if cell is None else cell.value for cell in row.cells)
        for row in cells.rows[: filed + 1]
    )
    return max(ScoreMatrix(cells.tasks, rows).forgetting_terms().values(), default=None)


def worst(registry: Registry) -> dict[str, WorstForgetting]:
    found = totals(registry, now()).forgetting
    assert {read for _, read, _ in found} == {"inherited"}  # what these sequences serve
    return {name: each for name, _, each in found}


def test_the_worst_forgetting_is_that_of_the_matrix(registry: Registry, tmp_path: Path) -> None:
    learn(registry, tmp_path / "one", 4)
    learn(registry, tmp_path / "two", 1, name="young")
    learn(registry, tmp_path / "three", 3, name="other")
    scores = {
        (1, "t01"): 0.8, (2, "t01"): 0.9, (3, "t01"): 0.5, (4, "t01"): 0.6,  # lost 0.3 of its best
        (2, "t02"): 0.7, (3, "t02"): 0.7, (4, "t02"): 0.75,  # better than ever
        (0, "t01"): 1.0, (2, "t04"): 1.0,  # before its time: no term
    }  # fmt: skip
    for (version, task), value in scores.items():
        score(registry, version, task, value)
    score(registry, 4, "t01", 0.0, under="t02")  # a guard's, which is no part of R
    score(registry, 4, "t01", 0.0, read="cumulative")  # a mode that is not served
    found = worst(registry)
    assert set(found) == {"assistant", "other"}  # after one task there is nothing to forget
    lost = found["assistant"]
    assert (lost.task, lost.basis, lost.proved) == ("t01", "unpaired", False)
    assert lost.value == pytest.approx(0.3)
    assert lost.low < lost.value < lost.high
    for name, each in found.items():
        assert each.value == pytest.approx(by_the_matrix(registry, name)), name
    score(registry, 4, "t01", 0.9)  # measured again: the newer one counts
    assert worst(registry)["assistant"].value == pytest.approx(0.0)


def test_proved_takes_the_same_function_and_what_was_not_compared_is_counted(
    registry: Registry, tmp_path: Path
) -> None:
    learn(registry, tmp_path / "one", 3)  # G2 under the inherited read
    found = worst(registry)["assistant"]
    assert (found.value, found.proved, found.basis) == (0.0, True, "proved")
    assert found.earlier == Earlier(proved=2)
    score(registry, 3, "t02", 1.0)
    found = worst(registry)["assistant"]
    assert (found.proved, found.earlier) == (False, Earlier(proved=1, measured=1))
    score(registry, 3, "t02", 0.0, rows=sha256_json("other rows"))  # no loss: another test
    found = worst(registry)["assistant"]
    assert (found.value, found.earlier) == (0.0, Earlier(proved=1, incomparable=1))


def test_stages_are_counted_and_timed(registry: Registry) -> None:
    took = (0.25, 3.0, 59.0, 7200.0, 200000.0)
    for number, seconds in enumerate(took):
        registry.stage_started(f"s{number}", stage="train", sequence="a", task="t")
        registry.stage_finished(f"s{number}")
        last(registry, f"s{number}", seconds)
    for number in range(2):
        registry.stage_started(f"f{number}", stage="train", sequence="a", task="t")
        registry.stage_finished(f"f{number}", failed=True)
    registry.stage_started("r", stage="mask", sequence="a", task="t")
    mask, train = totals(registry, now()).stages
    assert (mask.stage, mask.running, mask.finished, mask.seconds) == ("mask", 1, 0, 0.0)
    assert (train.stage, train.running, train.failed, train.finished) == ("train", 0, 2, 5)
    assert train.seconds == pytest.approx(sum(took), abs=0.01)
    expected = tuple(sum(seconds <= bound for seconds in took) for bound in BUCKETS)
    assert train.within == expected


def last(registry: Registry, key: str, seconds: float) -> None:
    """Let an attempt have begun so long before its end."""
    [run] = [each for each in registry.stages("a") if each.key == key]
    assert run.finished is not None
    began = run.finished - timedelta(seconds=seconds)
    form = "%Y-%m-%d %H:%M:%S.%f" if registry._database.is_sqlite else "%Y-%m-%d %H:%M:%S.%f+00:00"
    with registry._database.engine.begin() as connection:
        connection.execute(
            text(f"UPDATE stage_runs SET started = '{began.strftime(form)}' WHERE key = :key"),
            {"key": key},
        )


def test_the_queue_is_counted_by_sequence_and_state(registry: Registry) -> None:
    arrivals = Arrivals(registry)
    first, second, third = arrive(arrivals, "a", "b", "c", sequence="one")
    arrivals.hold(first, "ann")
    arrivals.cancel(third, "ann")
    [failing] = arrive(arrivals, "x", sequence="two")
    arrivals.failed(taken(arrivals, failing), "no room")
    arrivals.hold_sequence("three", "lunch", "ben")
    sent = arrivals.receive({}, source="api", folder=None, submitted_by="ann")
    arrivals.refuse(sent.id, "why not")
    at = now() + timedelta(hours=1)
    counted = totals(registry, at)
    known = Counter((each.sequence, each.state) for each in arrivals.arrivals())
    assert counted.arrivals == known
    assert counted.arrivals_held == {"one": 1}
    assert counted.sequences_held == ("three",)
    assert counted.submissions == {"accepted": 2, "refused": 1}
    assert "two" not in counted.oldest_waiting
    waits = arrivals.arrival(second)
    if waits.state == "waiting":
        since = (at - waits.created).total_seconds()
        assert counted.oldest_waiting["one"] == pytest.approx(since)
    else:  # it was given out beside the failing one; what is held is no wait
        assert counted.oldest_waiting == {}


def test_decisions_are_counted_by_where_they_stand(registry: Registry, tmp_path: Path) -> None:
    learn(registry, tmp_path / "one", 3)
    learn(registry, tmp_path / "two", 2, name="careful", promotion="approval")
    told = outbox.add(registry, "ops", "http://127.0.0.1:9/x")
    outbox.add(registry, "quiet", "http://127.0.0.1:9/y", kinds=["deleted"])
    Desk(registry, ANN).promote("assistant", 1, reason="x")
    Desk(registry, ANN).promote("assistant", 2, reason="x")
    Desk(registry, ANN).rollback("assistant", reason="x")
    asked = Desk(registry, TOM).promote("careful", 1, reason="x")
    Desk(registry, BEN).reject(asked.id, reason="x")
    Desk(registry, TOM).promote("careful", 2, reason="x")
    score(registry, 3, "t03", 0.0, read="inherited")
    with pytest.raises(CheckFailed):
        Desk(registry, ADA).promote("assistant", 3, reason="x")
    counted = totals(registry, now())
    known = Counter(
        (name, each.kind, each.alias, each.status)
        for name in ("assistant", "careful")
        for each in Desk(registry, ADA).history(name)
    )
    found = {
        (each.sequence, each.kind, each.alias, each.status): each.count
        for each in counted.promotions
        if each.alias == "champion"
    }
    assert found == known
    assert found["assistant", "promote", "champion", "applied"] == 2
    assert found["careful", "promote", "champion", "rejected"] == 1
    assert found["careful", "promote", "champion", "requested"] == 1
    assert counted.gates["assistant", False] == 1
    assert counted.gates["assistant", True] >= 2
    assert counted.versions == {"assistant": 3, "careful": 2}
    waits = {each.webhook: each for each in counted.backlog}
    undelivered = outbox.undelivered(registry)
    assert told.webhook.name == "ops"
    assert waits["ops"].undelivered == len(undelivered) > 5
    assert waits["ops"].oldest_seconds is not None
    assert (waits["quiet"].undelivered, waits["quiet"].oldest_seconds) == (0, None)
    outbox.deliver(registry, post=lambda url, body, headers: 200)
    assert {each.undelivered for each in totals(registry, now()).backlog} == {0}


def test_the_number_of_queries_does_not_grow(registry: Registry, tmp_path: Path) -> None:
    learn(registry, tmp_path / "one", 3)
    score(registry, 3, "t01", 0.5)
    with queries(registry) as few:
        totals(registry, now())
    learn(registry, tmp_path / "two", 5, name="other")
    score(registry, 4, "t01", 0.5, name="other")
    for number in range(20):
        arrive(Arrivals(registry), "a", "b", sequence=f"s{number}")
        registry.stage_started(f"s{number}", stage=f"stage-{number}", sequence="a", task="t")
    Desk(registry, ANN).promote("assistant", 1, reason="x")
    with queries(registry) as full:
        totals(registry, now())
    assert len(full) == len(few) <= 20
