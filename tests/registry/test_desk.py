"""What a person may decide, and what can be asked about it later."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from decision_cases import (
    ADA,
    ANN,
    BEN,
    OWNER,
    TOM,
    VIC,
    HomeArtifacts,
    Learned,
    learn,
)
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from sqlalchemy import event, text

from lori_core.errors import BadInput, CheckFailed, NotFound, Unavailable
from registry import desk, ledger, promoting
from registry.clock import now
from registry.decisions import Actor
from registry.desk import Desk
from registry.desks import Decisions
from registry.store import Registry, open_registry

WHY = "better at code"
SOON = timedelta(days=1)
DIGEST = "d" * 64


@pytest.fixture
def three(home: Path, learned_homes: Learned) -> Iterator[Registry]:
    learned_homes.into(home, 3)
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        yield registry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    return Clock(monkeypatch)


class Clock:
    """The room's time, in a test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = datetime(2026, 3, 1, tzinfo=UTC)
        for module in (desk, promoting, ledger):
            monkeypatch.setattr(module, "now", lambda: self.time)

    def pass_days(self, days: float) -> datetime:
        self.time += timedelta(days=days)
        return self.time


def test_a_desk_is_what_everybody_calls_decisions(three: Registry) -> None:
    decisions: Decisions = Desk(three, ANN)
    assert decisions.champion("assistant") is None


# Roles


def work(action: str) -> Callable[[Desk], object]:
    return {
        "gate": lambda desk: desk.gate("assistant", 1),
        "promote": lambda desk: desk.promote("assistant", 1, reason=WHY),
        "nominate": lambda desk: desk.promote("assistant", 1, reason=WHY, to="candidate"),
        "approve": lambda desk: desk.approve(1, reason=WHY),
        "reject": lambda desk: desk.reject(1, reason=WHY),
        "rollback": lambda desk: desk.rollback("assistant", reason=WHY, to_version=0),
        "freeze": lambda desk: desk.freeze("assistant", now() + SOON, WHY),
        "thaw": lambda desk: desk.thaw("assistant", WHY),
        "waive": lambda desk: desk.waive("assistant", 1, "cells", WHY, now() + SOON),
        "approve-waiver": lambda desk: desk.approve_waiver(1, WHY),
        "retire": lambda desk: desk.retire("assistant", "t01", WHY),
        "confirm": lambda desk: desk.confirm(
            "assistant", 1, "t01", "inherited", DIGEST, "gpu-1", now()
        ),
    }[action]


@pytest.mark.parametrize(
    ("actor", "refused"),
    [
        (VIC, {"promote", "nominate", "rollback", "freeze", "thaw", "waive", "retire", "confirm",
               "approve", "approve-waiver"}),
        (TOM, {"promote", "rollback", "freeze", "thaw", "waive", "retire", "approve",
               "approve-waiver"}),
        (BEN, {"promote", "nominate", "rollback", "thaw", "waive", "retire", "confirm"}),
        (ANN, {"approve", "approve-waiver"}),
    ],
)  # fmt: skip
def test_a_role_is_asked_before_anything_is_decided(
    three: Registry, actor: Actor, refused: set[str]
) -> None:
    for action in sorted(refused):
        with pytest.raises(CheckFailed, match=f"role: {actor.name} is a {actor.role}"):
            work(action)(Desk(three, actor))
    assert Desk(three, ADA).log("assistant") == ()
    assert Desk(three, ADA).confirmations("assistant") == ()


def test_a_viewer_s_report_is_computed_and_a_trainer_s_is_kept(three: Registry) -> None:
    seen = Desk(three, VIC).gate("assistant", None)
    assert (seen.version, seen.ok, seen.id) == (3, True, None)
    kept = Desk(three, TOM).gate("assistant", None)
    assert (kept.ok, kept.id, kept.policy.version) == (True, 1, 1)
    assert kept.sha256 is not None


@pytest.mark.parametrize("reason", ["", "  ", "a\0b", "x" * 2001, "bell \x07"])
def test_a_reason_is_words(three: Registry, reason: str) -> None:
    for action in (
        lambda: Desk(three, ADA).promote("assistant", 1, reason=reason),
        lambda: Desk(three, ADA).rollback("assistant", reason=reason, to_version=0),
        lambda: Desk(three, ADA).freeze("assistant", now() + SOON, reason),
        lambda: Desk(three, ADA).retire("assistant", "t01", reason),
    ):
        with pytest.raises(BadInput, match="reason"):
            action()
    assert Desk(three, ADA).log("assistant") == ()


# History


def test_history_tells_what_served_at_any_time(three: Registry, clock: Clock) -> None:
    at = Desk(three, ANN)
    start = clock.time
    first = clock.pass_days(1)
    at.promote("assistant", 1, reason="the first")
    second = clock.pass_days(30)
    at.promote("assistant", 3, reason="the third")
    third = clock.pass_days(1)
    at.rollback("assistant", reason="it leaked")
    end = clock.pass_days(1)

    moments = [start, first, first + SOON, second, second + SOON / 2, third, end]
    versions = [at.served("assistant", "champion", moment).version for moment in moments]
    assert versions == [None, 1, 1, 3, 3, 1, 1]
    previous = [at.served("assistant", "previous", moment).version for moment in moments]
    assert previous == [None, None, None, 1, 1, None, None]

    then = at.served("assistant", "champion", second + SOON / 2).promotion
    assert then is not None
    assert (then.reason, then.requested_by, then.applied_at) == ("the third", "ann", second)
    assert then.report_sha256 is not None
    east = (second + SOON / 2).astimezone(timezone(timedelta(hours=5)))
    assert at.served("assistant", "champion", east).promotion == then

    assert [each.to_version for each in at.history("assistant")] == [1, 3, 1]
    assert [each.to_version for each in at.history("assistant", second)] == [1, 3]
    assert at.history("assistant", start) == ()
    assert [each.kind for each in at.history("assistant", last=2)] == ["promote", "rollback"]
    with pytest.raises(BadInput, match="zone"):
        at.history("assistant", datetime(2026, 3, 3))  # noqa: DTZ001


def test_history_tells_how_a_request_stood_then(
    home: Path, folder: FolderArtifacts, tmp_path: Path, clock: Clock
) -> None:
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "learned", 1, promotion="approval")
        asked = Desk(registry, ANN).promote("assistant", 1, reason=WHY)
        monday = clock.time
        tuesday = clock.pass_days(1)
        Desk(registry, BEN).approve(asked.id, reason="read it")
        found = Desk(registry, VIC)
        (then,), (later,) = (found.history("assistant", at) for at in (monday, tuesday))
    assert (then.status, then.approved_by, then.applied_at) == ("requested", None, None)
    assert (later.status, later.approved_by, later.applied_at) == ("applied", "ben", tuesday)


def test_what_serves_is_found_in_one_step_down_an_index(three: Registry) -> None:
    at = Desk(three, ANN)
    for version in (1, 2, 3):
        at.promote("assistant", version, reason=WHY)
    statements: list[str] = []
    engine = three._database.engine

    def seen(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", seen)
    assert at.champion("assistant") == 3
    event.remove(engine, "before_cursor_execute", seen)
    _, _, served = statements  # BEGIN, the sequence, what serves
    plan = "EXPLAIN QUERY PLAN " + served.replace("?", "1")
    with engine.connect() as connection:
        steps = " ".join(row[-1] for row in connection.execute(text(plan)))
    assert "ix_promotion_events_served" in steps
    assert "SCAN" not in steps
    assert "TEMP B-TREE" not in steps


# Freezes


def test_a_frozen_sequence_promotes_nothing_until_its_time_or_a_thaw(
    three: Registry, clock: Clock
) -> None:
    at = Desk(three, ANN)
    frozen = Desk(three, BEN).freeze("assistant", clock.time + SOON, "audit week")
    assert at.frozen("assistant") == frozen
    with pytest.raises(CheckFailed, match=r"frozen: assistant until .* by ben: audit week"):
        at.promote("assistant", 1, reason=WHY)
    at.thaw("assistant", "done early")
    assert at.frozen("assistant") is None
    with pytest.raises(CheckFailed, match="not frozen"):
        at.thaw("assistant", "again")
    at.promote("assistant", 1, reason=WHY)
    at.freeze("assistant", clock.time + SOON, "holidays")
    with pytest.raises(CheckFailed, match="frozen"):
        at.promote("assistant", 2, reason=WHY)
    clock.pass_days(1)
    assert at.frozen("assistant") is None
    at.promote("assistant", 2, reason=WHY)


def test_who_freezes_again_never_makes_a_freeze_shorter(three: Registry, clock: Clock) -> None:
    at = Desk(three, BEN)
    long = at.freeze("assistant", clock.time + 30 * SOON, "incident")
    at.freeze("assistant", clock.time + SOON, "lunch")
    assert at.frozen("assistant") == long
    clock.pass_days(2)
    with pytest.raises(CheckFailed, match=r"frozen: .* by ben: incident"):
        Desk(three, ANN).promote("assistant", 1, reason=WHY)
    longer = Desk(three, ANN).freeze("assistant", clock.time + 60 * SOON, "still")
    assert at.frozen("assistant") == longer
    Desk(three, ANN).thaw("assistant", "over")
    assert at.frozen("assistant") is None
    short = at.freeze("assistant", clock.time + SOON, "lunch")
    assert at.frozen("assistant") == short, "what was thawed counts no more"


class Away(FakeAliases):
    """A stand-in for an MLflow that does not answer."""

    def model_tags(self, model_name: str) -> dict[str, str]:
        raise Unavailable("MLflow", "a server that answers")


def test_a_freeze_holds_although_mlflow_is_away(three: Registry) -> None:
    present, three._aliases = three._aliases, Away()
    Desk(three, ANN).freeze("assistant", now() + SOON, "something is wrong")
    with pytest.raises(CheckFailed, match="frozen"):
        Desk(three, ANN).promote("assistant", 1, reason=WHY)
    three._aliases = present
    assert Desk(three, ANN).check_history("assistant").ok


def test_a_freeze_that_is_over_already_is_refused(three: Registry) -> None:
    for until in (now() - SOON, datetime(2999, 1, 1)):  # noqa: DTZ001
        with pytest.raises(BadInput, match="until"):
            Desk(three, ANN).freeze("assistant", until, WHY)


# Waivers


def failing(registry: Registry, home: Path) -> None:
    """Version 2 lacks a cell that its gate wants."""
    (home / "cells" / "assistant-t02-1.jsonl").unlink()
    report = Desk(registry, VIC).gate("assistant", 2)
    assert [rule.rule for rule in report.rules if not rule.ok] == ["cells", "learning:t02"]


def waive(registry: Registry, until: datetime) -> list[int]:
    rules = ("cells", "learning:t02")
    return [
        Desk(registry, ANN).waive("assistant", 2, rule, "the file was lost", until).id
        for rule in rules
    ]


def test_a_rule_is_set_aside_by_two_persons_for_a_time(
    three: Registry, home: Path, clock: Clock
) -> None:
    failing(three, home)
    at = Desk(three, ANN)
    waivers = waive(three, clock.time + SOON)
    with pytest.raises(CheckFailed, match="cells"):
        at.promote("assistant", 2, reason=WHY)
    made = [Desk(three, BEN).approve_waiver(waiver, "seen the numbers") for waiver in waivers]
    assert [(each.requested_by, each.approved_by) for each in made] == [("ann", "ben")] * 2
    assert at.waivers("assistant") == tuple(made)
    report = at.gate("assistant", 2)
    assert report.ok
    clock.pass_days(1)
    with pytest.raises(CheckFailed, match="cells"):
        at.promote("assistant", 2, reason=WHY)
    with pytest.raises(CheckFailed, match="cells"):
        at.promote("assistant", 3, reason=WHY)  # a waiver is of one version


def test_a_waiver_in_force_lets_its_version_serve(three: Registry, home: Path) -> None:
    failing(three, home)
    for waiver in waive(three, now() + SOON):
        Desk(three, BEN).approve_waiver(waiver, "seen the numbers")
    made = Desk(three, ANN).promote("assistant", 2, reason=WHY)
    assert made.status == "applied"


@pytest.mark.parametrize(
    ("by", "second", "said"),
    [(ADA, ADA, "ada asked for it"), (ANN, OWNER, "counts once"), (OWNER, OWNER, "counts once")],
)
def test_one_person_is_never_two(three: Registry, by: Actor, second: Actor, said: str) -> None:
    made = Desk(three, by).waive("assistant", 1, "cells", WHY, now() + SOON)
    with pytest.raises(CheckFailed, match=said):
        Desk(three, second).approve_waiver(made.id, "fine")
    assert Desk(three, VIC).waivers("assistant")[0].approved_by is None


def test_a_waiver_is_approved_once_and_before_it_is_over(three: Registry, clock: Clock) -> None:
    first, second = (
        Desk(three, ANN).waive("assistant", 1, "cells", WHY, clock.time + SOON).id for _ in range(2)
    )
    Desk(three, BEN).approve_waiver(first, "fine")
    with pytest.raises(CheckFailed, match="approved by ben"):
        Desk(three, BEN).approve_waiver(first, "fine")
    clock.pass_days(2)
    with pytest.raises(CheckFailed, match="expired"):
        Desk(three, BEN).approve_waiver(second, "fine")
    for number in (99, 0, 2**70):
        with pytest.raises(NotFound):
            Desk(three, BEN).approve_waiver(number, "fine")


def test_a_rule_that_judges_nothing_is_not_waived(three: Registry) -> None:
    with pytest.raises(NotFound, match="rule 'cell': expected a rule that judges assistant/1"):
        Desk(three, ANN).waive("assistant", 1, "cell", WHY, now() + SOON)
    with pytest.raises(NotFound):
        Desk(three, ANN).waive("assistant", 9, "cells", WHY, now() + SOON)
    with pytest.raises(BadInput, match="to come"):
        Desk(three, ANN).waive("assistant", 1, "cells", WHY, now() - SOON)


# Retirement


def test_a_task_is_retired_once(three: Registry, clock: Clock) -> None:
    at = Desk(three, ANN)
    at.retire("assistant", "t01", "nobody asks it any more")
    assert at.retired("assistant") == {"t01": clock.time}
    with pytest.raises(CheckFailed, match="retired already"):
        at.retire("assistant", "t01", "again")
    with pytest.raises(NotFound, match="t99"):
        at.retire("assistant", "t99", "never was")


# Confirmations


def test_a_server_says_what_it_loaded_and_whether_we_know_it(three: Registry) -> None:
    three.record_export("assistant", 1, "t01", "inherited", DIGEST)
    three.record_export("assistant", 1, "t01", "inherited", DIGEST)
    server = Desk(three, TOM)
    when = now() - timedelta(minutes=1)
    known = server.confirm("assistant", 1, "t01", "inherited", DIGEST, "gpu-1", when)
    strange = server.confirm("assistant", 1, "t01", "inherited", "e" * 64, "gpu-2", when)
    other = server.confirm("assistant", 2, "t01", "inherited", DIGEST, "gpu-3", when)
    assert [each.matches for each in (known, strange, other)] == [True, False, False]
    assert Desk(three, VIC).confirmations("assistant") == (known, strange, other)


def test_what_served_is_told_with_who_confirmed_it_by_then(three: Registry) -> None:
    Desk(three, ANN).promote("assistant", 1, reason=WHY)
    applied = now()
    Desk(three, TOM).confirm("assistant", 1, "t01", "inherited", DIGEST, "gpu-1", now())
    Desk(three, TOM).confirm("assistant", 2, "t02", "inherited", DIGEST, "gpu-2", now())
    at = Desk(three, VIC)
    assert at.served("assistant", "champion", applied).confirmed == ()
    later = at.served("assistant", "champion", now())
    assert [each.host for each in later.confirmed] == ["gpu-1"]


def test_a_confirmation_counts_from_when_it_was_given_and_tells_both_times(
    three: Registry, clock: Clock
) -> None:
    Desk(three, ANN).promote("assistant", 1, reason=WHY)
    then, loaded = clock.pass_days(1), clock.time - SOON / 2
    given = clock.pass_days(1)
    said = Desk(three, TOM).confirm("assistant", 1, "t01", "inherited", DIGEST, "gpu-1", loaded)
    assert (said.loaded_at, said.told_at) == (loaded, given)
    at = Desk(three, VIC)
    assert at.served("assistant", "champion", then).confirmed == ()
    assert at.served("assistant", "champion", given).confirmed == (said,)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "D" * 64},
        {"digest": "../x"},
        {"host": "a\nb\0"},
        {"host": ""},
        {"task": "t99"},
        {"read": "aloud"},
        {"version": 9},
        {"version": -1},
        {"loaded_at": datetime(2999, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_confirmation_of_what_cannot_be_is_refused(
    three: Registry, changed: dict[str, object]
) -> None:
    said = {
        "version": 1, "task": "t01", "read": "inherited", "digest": DIGEST, "host": "gpu-1",
        "loaded_at": now(), **changed,
    }  # fmt: skip
    with pytest.raises(BadInput):
        Desk(three, TOM).confirm("assistant", **said)  # type: ignore[arg-type]
    assert Desk(three, TOM).confirmations("assistant") == ()


@pytest.mark.slow
def test_on_postgresql_the_same_is_decided_and_told(url: str, home: Path, tmp_path: Path) -> None:
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "learned", 3, promotion="approval")
        ann, ben = Desk(registry, ANN), Desk(registry, BEN)
        for version in (1, 3):
            asked = ann.promote("assistant", version, reason=WHY)
            assert [each.id for each in ben.pending(None)] == [asked.id]
            assert ben.approve(asked.id, reason="read it").status == "applied"
        between = now()
        ann.rollback("assistant", reason="leaks")
        assert (ann.champion("assistant"), ann.champion("assistant", "previous")) == (1, None)
        assert set(ann.stale("assistant")) == {3}
        assert ann.served("assistant", "champion", between).version == 3
        assert [each.status for each in ann.history("assistant", between)] == ["applied"] * 2
        assert len(ann.history("assistant", last=1)) == 1
        waiver = ann.waive("assistant", 3, "dependency", WHY, now() + SOON)
        ben.approve_waiver(waiver.id, "seen")
        assert ben.gate("assistant", 3).ok
        ben.freeze("assistant", now() + SOON, "audit")
        with pytest.raises(CheckFailed, match="frozen"):
            ann.promote("assistant", 3, reason=WHY)
        ann.thaw("assistant", "done")
        ann.retire("assistant", "t01", "old")
        registry.record_export("assistant", 1, "t01", "inherited", DIGEST)
        assert ann.confirm("assistant", 1, "t01", "inherited", DIGEST, "gpu-1", now()).matches
        assert set(ann.retired("assistant")) == {"t01"}
        assert ann.check_history("assistant").ok
