"""Where the policy asks for a second person: who asks, who decides, and on what that stands."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from arrival_cases import new_task
from decision_cases import ADA, ANN, BEN, MODEL, OWNER, TOM, WHY, kinds
from fake_aliases import FakeAliases
from sqlalchemy import text

from lori_core.errors import CheckFailed, NotFound
from registry import promoting
from registry.arrivals import Arrivals
from registry.clock import now
from registry.decisions import GateReport
from registry.desk import Desk
from registry.lineage import known_sequence
from registry.second_person import why_not_second
from registry.store import Registry


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
    forged = replace(BEN, vouched_by=("ada",))
    with pytest.raises(CheckFailed, match="ada, who submitted task 't01', made ben's account"):
        Desk(asking, forged).approve(asked.id, reason="mine")
    with asking._database.reading() as session:
        owner = known_sequence(session, "assistant")
        for actor, why in ((forged, "ada, who submitted"), (ADA, "You submitted"), (BEN, None)):
            said = why_not_second(session, owner, actor, [asked])[asked.id]
            assert said is None if why is None else (said or "").startswith(why)
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
    assert "`lori accounts first NAME`" in asked.detail
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
