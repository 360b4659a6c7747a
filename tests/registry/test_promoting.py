"""Moving an alias: on the gate's word, against the champion it was decided on, whatever is killed."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from arrival_cases import new_task
from decision_cases import (
    ADA,
    ANN,
    BEN,
    MODEL,
    OWNER,
    TOM,
    WHY,
    break_a_file,
    break_the_certificate_file,
    break_the_certificate_row,
    kinds,
    learn,
    promote,
)
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from sqlalchemy import text

from lori_core.errors import BadInput, CheckFailed, NotFound
from registry import applying, ledger, outbox, promoting, verified
from registry.applying import reconcile
from registry.arrivals import Arrivals
from registry.clock import now
from registry.decisions import GateReport
from registry.desk import Desk
from registry.store import Registry, open_registry

# Promote


def test_a_version_that_passes_its_gate_serves(four: Registry, aliases: FakeAliases) -> None:
    desk = Desk(four, ANN)
    assert desk.champion("assistant") is None
    first = desk.promote("assistant", 1, reason=WHY, expect="none")
    second = desk.promote("assistant", None, reason=WHY, expect=1)
    assert (first.from_version, first.to_version, first.status) == (None, 1, "applied")
    assert (second.from_version, second.to_version, second.requested_by) == (1, 4, "ann")
    assert desk.champion("assistant") == 4
    assert desk.champion("assistant", "previous") == 1
    assert aliases.aliases == {(MODEL, "champion"): 4, (MODEL, "previous"): 1}
    assert kinds(four) == ["requested", "applying", "applied"] * 2
    assert desk.check_history("assistant").ok


def test_what_it_was_decided_on_can_be_found_again(four: Registry) -> None:
    made = Desk(four, ANN).promote("assistant", 2, reason=WHY, expect="none")
    with four._database.reading() as session:
        report = session.execute(
            text(f"SELECT number, ok, sha256 FROM gate_reports WHERE id = {made.report_id}")
        ).one()
    assert (report.number, bool(report.ok), report.sha256) == (2, True, made.report_sha256)


def test_a_limit_is_allowed_for_a_drop_and_asked_for_of_a_gain(four: Registry) -> None:
    promote(four, 1)
    said = {rule.rule: rule.why for rule in Desk(four, ANN).gate("assistant", 2).rules}
    assert "at least 0.0% is asked" in said["learning:t02"]
    assert "at most" in said["forgetting:t01"]
    assert "is asked" not in said["forgetting:t01"]
    assert not any("at least 0.0% is allowed" in why for why in said.values())


@pytest.mark.parametrize("expect", ["none", 2, 0])
def test_who_expects_another_champion_is_told_that_it_moved(
    four: Registry, aliases: FakeAliases, expect: int
) -> None:
    promote(four, 1)
    before = kinds(four)
    with pytest.raises(CheckFailed, match=r"champion: moved: assistant@champion is version 1"):
        Desk(four, ANN).promote("assistant", 3, reason=WHY, expect=expect)
    assert aliases.aliases[MODEL, "champion"] == 1
    assert kinds(four) == before


def test_asking_again_for_what_serves_changes_nothing(four: Registry) -> None:
    promote(four, 2)
    made = Desk(four, ANN).promote("assistant", 2, reason="once more")
    assert (made.id, made.reason) == (1, WHY)
    assert len(kinds(four)) == 3


def test_a_version_that_its_gate_refuses_does_not_serve(
    four: Registry, aliases: FakeAliases, home: Path
) -> None:
    (home / "cells" / "assistant-t02-1.jsonl").unlink()
    with pytest.raises(CheckFailed, match=r"gate: assistant/2 is refused: cells: .*t02"):
        Desk(four, ANN).promote("assistant", 2, reason=WHY)
    assert aliases.aliases == {}
    assert Desk(four, ANN).history("assistant") == ()


def test_a_candidate_serves_nothing_and_follows_the_gate_too(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1)
    made = Desk(four, TOM).promote("assistant", 3, reason=WHY, to="candidate", expect="none")
    assert (made.alias, made.status, made.from_version) == ("candidate", "applied", None)
    desk = Desk(four, ANN)
    assert (desk.champion("assistant"), desk.champion("assistant", "candidate")) == (1, 3)
    assert desk.champion("assistant", "previous") is None
    assert [each.to_version for each in desk.history("assistant")] == [1]
    assert aliases.aliases == {(MODEL, "champion"): 1, (MODEL, "candidate"): 3}


def test_previous_cannot_be_set_by_hand(four: Registry) -> None:
    with pytest.raises(BadInput, match="follows the champion"):
        Desk(four, ANN).promote("assistant", 1, reason=WHY, to="previous")


@pytest.mark.parametrize("version", [0, 9, 2**40])
def test_a_version_that_is_none_is_refused(four: Registry, version: int) -> None:
    with pytest.raises(BadInput):
        Desk(four, ANN).promote("assistant", version, reason=WHY)
    assert kinds(four) == []


@pytest.mark.parametrize("name", ["nope", "../../etc/passwd", "a/b", "", "a\0b"])
def test_a_name_that_is_no_sequence_becomes_no_file(four: Registry, home: Path, name: str) -> None:
    before = sorted(path for path in home.parent.rglob("*"))
    desk = Desk(four, ADA)
    for work in (
        lambda: desk.promote(name, 1, reason=WHY),
        lambda: desk.rollback(name, reason=WHY),
        lambda: desk.freeze(name, now() + timedelta(days=1), WHY),
        lambda: reconcile(four, name),
    ):
        with pytest.raises(BadInput):
            work()
    assert sorted(path for path in home.parent.rglob("*")) == before


# A second person


def test_where_the_policy_asks_another_person_decides(
    asking: Registry, aliases: FakeAliases
) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    assert (asked.status, asked.applied_at, aliases.aliases) == ("requested", None, {})
    assert [each.id for each in Desk(asking, BEN).pending("assistant")] == [asked.id]
    assert [each.id for each in Desk(asking, BEN).pending(None)] == [asked.id]
    made = Desk(asking, BEN).approve(asked.id, reason="read the report")
    assert (made.status, made.requested_by, made.approved_by) == ("applied", "ann", "ben")
    assert aliases.aliases[MODEL, "champion"] == 1
    assert kinds(asking) == ["requested", "approved", "applying", "applied"]
    assert Desk(asking, BEN).pending(None) == ()


def test_a_trainer_may_ask_where_another_person_decides_and_only_there(
    asking: Registry, aliases: FakeAliases
) -> None:
    asked = Desk(asking, TOM).promote("assistant", 1, reason=WHY)
    assert (asked.status, asked.requested_by) == ("requested", "tom")
    assert aliases.aliases == {}
    again = Desk(asking, TOM).promote("assistant", 1, reason="once more")
    assert again.id == asked.id
    done = Desk(asking, BEN).approve(asked.id, reason="looked at it")
    assert (done.status, done.approved_by) == ("applied", "ben")
    assert aliases.aliases == {(MODEL, "champion"): 1}

    record = asking.sequence("assistant")
    asking.declare_sequence(replace(record, settings={**record.settings, "promotion": "auto"}))
    before = kinds(asking)
    for version in (1, 2):
        with pytest.raises(CheckFailed, match="role: tom is a trainer; to promote takes"):
            Desk(asking, TOM).promote("assistant", version, reason=WHY)
    assert kinds(asking) == before


def test_a_trainer_s_request_moves_nothing_where_the_policy_changes_under_it(
    asking: Registry, aliases: FakeAliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = promoting.Promoter.judge

    def change_then_judge(promoter: promoting.Promoter, sequence: str, version: int) -> GateReport:
        record = asking.sequence(sequence)
        asking.declare_sequence(
            replace(record, settings={**record.settings, "promotion": "manual"})
        )
        return judge(promoter, sequence, version)

    monkeypatch.setattr(promoting.Promoter, "judge", change_then_judge)
    with pytest.raises(CheckFailed, match="role: tom is a trainer; to promote takes"):
        Desk(asking, TOM).promote("assistant", 1, reason=WHY)
    assert aliases.aliases == {}
    assert Desk(asking, ADA).pending("assistant") == ()


def test_who_submitted_a_task_does_not_approve_what_its_worker_asked_for(
    asking: Registry, aliases: FakeAliases
) -> None:
    arrivals = Arrivals(asking)
    submission = arrivals.receive({}, source="api", folder=None, submitted_by="ada")
    arrivals.accept(submission.id, [new_task("t01")], {})
    [out] = arrivals.dispatch()
    arrivals.learned(arrivals.take(out.id, out.token, "host-1"), 1)
    asked = Desk(asking, TOM).promote("assistant", 1, reason=WHY)
    with pytest.raises(CheckFailed, match="second person: ada submitted task 't01'"):
        Desk(asking, ADA).approve(asked.id, reason="mine")
    assert aliases.aliases == {}
    assert Desk(asking, BEN).approve(asked.id, reason="looked").status == "applied"


def test_nobody_approves_what_he_asked_for(asking: Registry, aliases: FakeAliases) -> None:
    asked = Desk(asking, ADA).promote("assistant", 1, reason=WHY)
    with pytest.raises(CheckFailed, match="ada asked for it"):
        Desk(asking, ADA).approve(asked.id, reason="fine")
    assert aliases.aliases == {}
    assert kinds(asking) == ["requested"]


def test_the_owner_of_the_embedded_default_is_never_the_second_person(asking: Registry) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    with pytest.raises(CheckFailed, match="his word counts once"):
        Desk(asking, OWNER).approve(asked.id, reason="fine")
    assert kinds(asking) == ["requested"]


def test_where_nobody_could_approve_it_is_said_what_to_do(asking: Registry) -> None:
    asked = Desk(asking, OWNER).promote("assistant", 1, reason=WHY)
    assert asked.status == "requested"
    assert "`lori accounts add NAME --role reviewer`" in asked.detail
    with pytest.raises(CheckFailed, match="lori accounts add NAME --role reviewer"):
        Desk(asking, OWNER).approve(asked.id, reason="fine")
    again = Desk(asking, OWNER).promote("assistant", 1, reason=WHY)
    assert again.id == asked.id


def test_a_promoter_and_a_trainer_cannot_approve(asking: Registry) -> None:
    asked = Desk(asking, ADA).promote("assistant", 1, reason=WHY)
    for actor in (ANN, TOM):
        with pytest.raises(CheckFailed, match="role"):
            Desk(asking, actor).approve(asked.id, reason="fine")


def test_a_rejected_request_is_over(asking: Registry, aliases: FakeAliases) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    made = Desk(asking, BEN).reject(asked.id, reason="not on a Friday")
    assert (made.status, made.detail) == ("rejected", "not on a Friday")
    for work in (Desk(asking, BEN).approve, Desk(asking, BEN).reject):
        with pytest.raises(CheckFailed, match="waits no more: it is rejected"):
            work(asked.id, reason="again")
    assert aliases.aliases == {}


def test_who_asked_may_withdraw_and_no_other_promoter(asking: Registry) -> None:
    asked = Desk(asking, ADA).promote("assistant", 1, reason=WHY)
    with pytest.raises(CheckFailed, match="role"):
        Desk(asking, ANN).reject(asked.id, reason="no")
    mine = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    assert Desk(asking, ANN).reject(mine.id, reason="a mistake").status == "rejected"


def test_an_approval_of_what_was_asked_on_another_champion_fails(
    asking: Registry, aliases: FakeAliases
) -> None:
    first = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    second = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    Desk(asking, BEN).approve(first.id, reason="fine")
    with pytest.raises(CheckFailed, match=r"champion: moved: assistant/2 was judged while nothing"):
        Desk(asking, BEN).approve(second.id, reason="fine")
    assert aliases.aliases[MODEL, "champion"] == 1
    found = Desk(asking, BEN).history("assistant")[1]
    assert (found.status, found.approved_by) == ("failed", None)
    assert "moved" in found.detail


def test_an_approval_is_judged_on_what_is_true_then(asking: Registry, home: Path) -> None:
    asked = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    (home / "cells" / "assistant-t02-1.jsonl").unlink()
    with pytest.raises(CheckFailed, match="gate"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    assert Desk(asking, BEN).history("assistant")[0].status == "failed"


def test_a_promotion_that_is_none_is_refused(asking: Registry) -> None:
    for number in (1, 0, -3, 2**70):
        with pytest.raises(NotFound):
            Desk(asking, BEN).approve(number, reason="fine")


# Roll back


def test_back_goes_to_the_champion_before_and_again_to_the_one_before_that(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2, 4)
    desk = Desk(four, ANN)
    assert [desk.rollback("assistant", reason="broke").to_version for _ in range(2)] == [2, 1]
    with pytest.raises(BadInput, match="nothing served before version 1"):
        desk.rollback("assistant", reason="broke")
    assert aliases.aliases == {(MODEL, "champion"): 1}
    assert desk.champion("assistant", "previous") is None


@pytest.mark.parametrize(
    ("moves", "told"),
    [
        ("4 2 3 2 back-to-4", [2, 3, 2, 4]),  # as @previous says, and on from there
        ("1 2 3 back", [1]),
        ("1 2 3 back-to-2", [1]),  # what a rollback without a target would have done
        ("1 2 back-to-0", [2, 1]),
        ("1 2 back-to-0 back 3", [2, 1]),
        ("1 2 back-to-0 1", [0, 2, 1]),
    ],
)
def test_back_goes_where_previous_points_and_never_to_what_the_last_one_left(
    four: Registry, aliases: FakeAliases, moves: str, told: list[int]
) -> None:
    desk = Desk(four, ANN)
    for move in moves.split():
        if move.startswith("back"):
            to = move.partition("-to-")[2]
            desk.rollback("assistant", reason="x", to_version=int(to) if to else None)
        else:
            in_use_or_waived(four, int(move))
    for expected in told:
        previous = desk.champion("assistant", "previous")
        assert previous == expected
        numbered = previous or four.base_version("assistant")
        assert aliases.aliases[MODEL, "previous"] == numbered
        assert desk.rollback("assistant", reason="x").to_version == expected
    assert desk.champion("assistant", "previous") is None
    assert (MODEL, "previous") not in aliases.aliases
    assert reconcile(four, "assistant") == (), "no drift"


def in_use_or_waived(registry: Registry, version: int) -> None:
    """Promote a version, whatever was rolled back before it and whatever it forgot."""
    report = Desk(registry, ANN).gate("assistant", version)
    for rule in report.rules:
        if not rule.ok:
            waiver = Desk(registry, ANN).waive(
                "assistant", version, rule.rule, WHY, now() + timedelta(days=1)
            )
            Desk(registry, BEN).approve_waiver(waiver.id, "seen")
    promote(registry, version)


def test_back_to_the_bare_base_points_at_the_version_that_serves_it(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 3)
    made = Desk(four, ANN).rollback("assistant", reason="broke", to_version=0)
    assert (made.kind, made.from_version, made.to_version) == ("rollback", 3, 0)
    assert Desk(four, ANN).champion("assistant") == 0
    assert aliases.aliases[MODEL, "champion"] == four.base_version("assistant")
    assert Desk(four, ANN).rollback("assistant", reason="too far").to_version == 3
    with pytest.raises(BadInput, match="nothing served before version 3"):
        Desk(four, ANN).rollback("assistant", reason="broke")
    Desk(four, ANN).rollback("assistant", reason="broke", to_version=0)
    promote(four, 1)
    assert Desk(four, ANN).champion("assistant", "previous") == 0


def test_back_is_no_way_around_the_gate(four: Registry) -> None:
    promote(four, 1, 2)
    with pytest.raises(BadInput, match="assistant/4, which never served"):
        Desk(four, ANN).rollback("assistant", reason="x", to_version=4)


def test_back_needs_no_gate_no_thaw_and_no_second_person(asking: Registry, home: Path) -> None:
    for version in (1, 2):
        asked = Desk(asking, ANN).promote("assistant", version, reason=WHY)
        Desk(asking, BEN).approve(asked.id, reason="fine")
    Desk(asking, ANN).freeze("assistant", now() + timedelta(days=1), "holidays")
    for path in (home / "cells").iterdir():
        path.unlink()
    made = Desk(asking, ANN).rollback("assistant", reason="broke", expect=2)
    assert (made.status, made.to_version) == ("applied", 1)


def test_what_stands_on_a_version_that_was_rolled_back_is_stale(four: Registry) -> None:
    promote(four, 1, 3)
    desk = Desk(four, ANN)
    assert desk.stale("assistant") == {}
    desk.rollback("assistant", reason="leaks")
    assert set(desk.stale("assistant")) == {3, 4}
    assert "version 2, which was rolled back" in desk.stale("assistant")[4]
    with pytest.raises(CheckFailed, match="dependency"):
        desk.promote("assistant", 4, reason=WHY)
    promote(four, 2)
    assert set(desk.stale("assistant")) == {4}
    promote(four, 3)
    assert desk.stale("assistant") == {}
    promote(four, 4)


def test_to_the_bare_base_takes_back_what_served_and_not_what_served_before(
    four: Registry,
) -> None:
    promote(four, 1, 2)
    desk = Desk(four, ANN)
    desk.rollback("assistant", reason="emergency", to_version=0)
    assert set(desk.stale("assistant")) == {3, 4}
    assert "version 2, which was rolled back" in desk.stale("assistant")[3]
    promote(four, 1)
    assert set(desk.stale("assistant")) == {3, 4}
    promote(four, 2)
    assert desk.stale("assistant") == {}


def test_the_only_champion_there_was_is_all_that_the_bare_base_takes_back(four: Registry) -> None:
    promote(four, 3)
    Desk(four, ANN).rollback("assistant", reason="emergency", to_version=0)
    assert set(Desk(four, ANN).stale("assistant")) == {4}
    promote(four, 2)


@pytest.mark.parametrize(
    ("read", "protection"), [("isolated", "disjoint"), ("inherited", "separate")]
)
def test_adapters_that_depend_on_no_other_never_go_stale(
    home: Path, folder: FolderArtifacts, tmp_path: Path, read: str, protection: str
) -> None:
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "learned", 3, read=read, protection=protection)
        promote(registry, 1, 2)
        Desk(registry, ANN).rollback("assistant", reason="leaks")
        assert Desk(registry, ANN).stale("assistant") == {}


# Broken bits


BREAKS = [break_a_file, break_the_certificate_file, break_the_certificate_row]


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("which", [1, 2], ids=["an earlier one", "its own"])
def test_a_broken_version_serves_by_no_path(
    asking: Registry, aliases: FakeAliases, broken: object, which: int
) -> None:
    """Promote, approve and a waiver; rollback and reconcile are below."""
    asked = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    broken(asking, which)  # type: ignore[operator]
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, TOM).promote("assistant", 2, reason=WHY, to="candidate")
    for rule in ("integrity", "certificate"):
        with pytest.raises(BadInput, match="may be waived"):
            Desk(asking, ANN).waive("assistant", 2, rule, WHY, now() + timedelta(days=1))
    assert aliases.aliases == {}


def test_a_waiver_slipped_into_the_log_lets_no_broken_version_pass(
    four: Registry, aliases: FakeAliases
) -> None:
    break_a_file(four, 2)
    asked = {"version": 2, "rule": "integrity", "reason": "x", "expires": "2999-01-01T00:00:00Z"}
    applying.record(four, "assistant", "waiver-requested", "ann", asked)
    (waiver,) = Desk(four, ANN).waivers("assistant")
    applying.record(four, "assistant", "waiver-approved", "ben", {"waiver": waiver.id})
    ledger.anchor(four, "assistant")
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(four, ANN).promote("assistant", 2, reason=WHY)
    assert aliases.aliases == {}


@pytest.mark.parametrize("broken", BREAKS)
def test_back_never_goes_to_a_broken_version(
    four: Registry, aliases: FakeAliases, broken: object
) -> None:
    promote(four, 1, 2, 3)
    broken(four, 2)  # type: ignore[operator]
    for target in (None, 2):
        with pytest.raises(CheckFailed, match="integrity"):
            Desk(four, ANN).rollback("assistant", reason="broke", to_version=target)
    assert aliases.aliases[MODEL, "champion"] == 3
    assert Desk(four, ANN).rollback("assistant", reason="broke", to_version=1).status == "applied"


def test_what_was_decided_is_told_with_it(four: Registry) -> None:
    outbox.add(four, "chat", "http://127.0.0.1:9/", kinds=["applied"])
    promote(four, 1)
    (waiting,) = outbox.undelivered(four)
    assert waiting.kind == "applied"
    seen: list[dict[str, object]] = []

    def post(url: str, body: bytes, headers: object) -> int:
        seen.append(json.loads(body))
        return 200

    outbox.deliver(four, now() + timedelta(seconds=1), post)
    data = seen[0]["data"]
    assert isinstance(data, dict)
    assert (data["sequence"], data["position"], data["actor"]) == ("assistant", 3, "ann")
    assert data["promotion"]["to_version"] == 1


# What `lori verify` found


def test_a_version_whose_probes_were_found_wrong_serves_by_no_path_until_they_are_right(
    asking: Registry, aliases: FakeAliases
) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    verified.remember(asking, "assistant", 1, ok=False)
    with pytest.raises(CheckFailed, match=r"integrity: .*`lori verify` found it not"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    assert aliases.aliases == {}
    verified.remember(asking, "assistant", 1, ok=True)
    again = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    assert Desk(asking, BEN).approve(again.id, reason="fine").status == "applied"


def test_back_never_goes_to_a_version_whose_probes_were_found_wrong(four: Registry) -> None:
    promote(four, 1, 2)
    verified.remember(four, "assistant", 1, ok=False)
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(four, ANN).rollback("assistant", reason="broke")


# What an approval stands on


def test_the_report_an_approval_stands_on_is_kept_and_named_in_the_log(asking: Registry) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    Desk(asking, BEN).approve(asked.id, reason="fine")
    said = Desk(asking, ANN).log("assistant")[1]
    assert (said.kind, said.payload["report"]) == ("approved", asked.report_id), "nothing new"
    assert said.payload["report_sha256"] == asked.report_sha256

    later = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    cell = next(
        each for each in asking.cells("assistant") if (each.version, each.task) == (2, "t02")
    )
    asking.record_cell(replace(cell, key="b" * 64))
    Desk(asking, BEN).approve(later.id, reason="fine")
    said = next(
        e
        for e in Desk(asking, ANN).log("assistant")
        if e.promotion == later.id and e.kind == "approved"
    )
    assert said.payload["report"] not in {None, later.report_id}
    with asking._database.reading() as session:
        row = session.execute(
            text("SELECT sha256, created_by FROM gate_reports WHERE id = :id"),
            {"id": said.payload["report"]},
        ).one()
    assert tuple(row) == (said.payload["report_sha256"], "ben")
    assert Desk(asking, ANN).check_history("assistant").ok


def test_an_edit_of_the_report_an_approval_stands_on_is_found(asking: Registry) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    Desk(asking, BEN).approve(asked.id, reason="fine")
    with asking._database.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER gate_reports_refuses_update"))
        connection.execute(text("UPDATE gate_reports SET document = '{}'"))
    faults = Desk(asking, ANN).check_history("assistant").faults
    assert "position 2: the gate report 1 of its approval was edited" in faults


def test_a_refusal_at_approval_is_kept_as_a_report_too(asking: Registry, home: Path) -> None:
    asked = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    (home / "cells" / "assistant-t02-1.jsonl").unlink()
    with pytest.raises(CheckFailed, match="gate"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    with asking._database.reading() as session:
        kept = session.execute(text("SELECT ok, created_by FROM gate_reports ORDER BY id")).all()
    assert [(bool(ok), by) for ok, by in kept] == [(True, "ann"), (False, "ben")]


def test_whose_account_or_token_was_made_by_who_asked_is_no_second_person(asking: Registry) -> None:
    asked = Desk(asking, ADA).promote("assistant", 1, reason=WHY)
    forged = replace(BEN, vouched_by=("os:root", "ada"))
    with pytest.raises(
        CheckFailed, match=r"second person: ada, who asked for it, made ben's account"
    ):
        Desk(asking, forged).approve(asked.id, reason="fine")
    waiver = Desk(asking, ADA).waive("assistant", 1, "cells", WHY, now() + timedelta(days=1))
    with pytest.raises(CheckFailed, match="second person"):
        Desk(asking, forged).approve_waiver(waiver.id, "fine")
    made = replace(BEN, vouched_by=("os:root",))
    assert Desk(asking, made).approve(asked.id, reason="fine").status == "applied"
