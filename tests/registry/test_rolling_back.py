"""The way back: where it goes, what it needs, and what goes stale with what was taken back."""

from datetime import timedelta
from pathlib import Path

import pytest
from decision_cases import ANN, BEN, MODEL, WHY, learn, promote
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

from lori_core.errors import BadInput, CheckFailed
from registry.applying import reconcile
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry, open_registry


def test_back_goes_to_the_champion_before_and_again_to_the_one_before_that(
    four: Registry, aliases: FakeAliases
) -> None:
    desk = Desk(four, ANN)
    with pytest.raises(BadInput, match=r"nothing served: expected"):
        desk.rollback("assistant", reason="broke")
    promote(four, 1, 2, 4)
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
    why = desk.stale("assistant")
    assert "version 2, which the rollback from version 3 took out of use" in why[4], (
        "2 never served"
    )
    with pytest.raises(
        CheckFailed, match=r"dependency: .*`lori rollback assistant --to-version 3`"
    ):
        desk.promote("assistant", 4, reason=WHY)
    promote(four, 2)
    assert set(desk.stale("assistant")) == {4}
    promote(four, 3)
    assert desk.stale("assistant") == {}
    promote(four, 4)


def test_what_was_taken_back_is_told_the_way_back_which_brings_it_into_use(four: Registry) -> None:
    promote(four, 1, 3)
    desk = Desk(four, ANN)
    desk.rollback("assistant", reason="an emergency", to_version=0)
    with pytest.raises(CheckFailed, match=r"`lori rollback assistant --to-version 3` is the way"):
        desk.promote("assistant", 3, reason=WHY)
    desk.rollback("assistant", reason="over", to_version=3)
    assert desk.stale("assistant") == {}
    promote(four, 4)


def test_what_never_served_below_what_was_rolled_back_starts_at_what_it_was_trained_on(
    four: Registry,
) -> None:
    promote(four, 1, 4)
    desk = Desk(four, ANN)
    desk.rollback("assistant", reason="leaks")
    with pytest.raises(CheckFailed, match=r"`lori promote assistant/2` asks the gate"):
        desk.promote("assistant", 3, reason=WHY)
    promote(four, 2, 3)


def test_an_older_version_that_lacks_what_serves_takes_a_rollback(four: Registry) -> None:
    promote(four, 1, 3)
    desk = Desk(four, ANN)
    with pytest.raises(
        CheckFailed, match=r"t02, t03 would fall back to the bare base.* --to-version 1`$"
    ):
        desk.promote("assistant", 1, reason="it was better")
    with pytest.raises(CheckFailed, match=r"an N that served: assistant/2 never did"):
        desk.promote("assistant", 2, reason="it was better")
    assert desk.rollback("assistant", reason="it was better", to_version=1).status == "applied"


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
