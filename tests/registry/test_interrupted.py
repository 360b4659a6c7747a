"""Promotions killed, aliases lost or moved behind our back, locks lost: it is told, and ended."""

import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from decision_cases import (
    ADA,
    ANN,
    BEN,
    MODEL,
    WHY,
    Faulty,
    HomeArtifacts,
    Learned,
    Stored,
    break_a_file,
    break_the_certificate_file,
    killed_promotion,
    kinds,
    learn,
    promote,
)
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from sqlalchemy import text

from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.applying import RECONCILER, reconcile, reconcile_all, restore_aliases
from registry.clock import now
from registry.database import Database
from registry.decisions import Alias
from registry.desk import Desk
from registry.store import Registry, open_registry
from registry.troubles import troubles


def test_killed_after_the_alias_was_set_is_finished(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    kept = killed_promotion(home, folder, tmp_path, after_it_was_set=True)
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        desk = Desk(registry, ANN)
        assert desk.champion("assistant") == 1
        assert desk.history("assistant")[-1].status == "applying"
        (entry,) = reconcile(registry, "assistant")
        assert (entry.kind, entry.actor) == ("applied", RECONCILER)
        assert "interrupted after the alias was set" in str(entry.payload["recovered"])
        assert (desk.champion("assistant"), desk.champion("assistant", "previous")) == (2, 1)
        assert reconcile(registry, "assistant") == ()
        assert desk.check_history("assistant").ok


def test_killed_before_the_alias_was_set_is_undone(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    kept = killed_promotion(home, folder, tmp_path, after_it_was_set=False)
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        desk = Desk(registry, ANN)
        (entry,) = reconcile(registry, "assistant")
        assert (entry.kind, entry.actor) == ("failed", RECONCILER)
        assert desk.history("assistant")[-1].status == "failed"
        assert "interrupted" in desk.history("assistant")[-1].detail
        assert desk.champion("assistant") == 1
        promote(registry, 2)
        assert desk.check_history("assistant").ok


def test_the_next_decision_ends_what_was_killed_before_it(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    kept = killed_promotion(home, folder, tmp_path, after_it_was_set=True)
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        with pytest.raises(CheckFailed, match="moved: assistant@champion is version 2"):
            Desk(registry, ANN).promote("assistant", 2, reason=WHY, expect=1)
        assert Desk(registry, ANN).promote("assistant", 2, reason=WHY).id == 2


def test_killed_after_setting_a_version_that_then_broke_is_taken_back(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    kept = killed_promotion(home, folder, tmp_path, after_it_was_set=True)
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        break_the_certificate_file(registry, 2)
        (entry,) = reconcile(registry, "assistant")
        assert entry.kind == "failed"
        assert "integrity" in str(entry.payload["why"])
        assert registry.aliases().get_alias(MODEL, "champion") == 1
        assert Desk(registry, ANN).champion("assistant") == 1


def test_an_alias_that_reads_back_another_has_not_been_applied(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    def steal(aliases: Faulty) -> None:
        aliases.aliases[MODEL, "champion"] = 7

    with open_registry(home, artifacts=folder, aliases=Faulty(steal)) as registry:
        learn(registry, tmp_path / "learned", 1)
        with pytest.raises(CheckFailed, match="champion is 7 in MLflow after 1 was set"):
            Desk(registry, ANN).promote("assistant", 1, reason=WHY)
        assert kinds(registry) == ["requested", "applying", "failed"]
        assert Desk(registry, ANN).champion("assistant") is None


def test_where_mlflow_does_not_answer_the_promotion_is_ended_when_it_does(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    def lost(aliases: Faulty) -> None:
        aliases.then = lambda aliases: None
        raise BadInput("MLflow", "a server that answers")

    with open_registry(home, artifacts=folder, aliases=Faulty(lost)) as registry:
        learn(registry, tmp_path / "learned", 1)
        with pytest.raises(BadInput, match="answers"):
            Desk(registry, ANN).promote("assistant", 1, reason=WHY)
        assert Desk(registry, ANN).promote("assistant", 1, reason=WHY).status == "applied"
        assert kinds(registry) == ["requested", "applying", "applied"]


@pytest.mark.parametrize("moved", [3, None])
def test_an_alias_moved_behind_our_back_is_logged_once_and_stops_a_promotion(
    four: Registry, aliases: FakeAliases, moved: int | None
) -> None:
    promote(four, 1)
    if moved is None:
        aliases.delete_alias(MODEL, "champion")
    else:
        aliases.set_alias(MODEL, "champion", moved)
    with pytest.raises(CheckFailed, match=r"drift: .*by our log it is version 1"):
        Desk(four, ANN).promote("assistant", 2, reason=WHY)
    reconcile(four, "assistant")
    assert kinds(four).count("drift") == 1
    payload = Desk(four, ANN).log("assistant")[-1].payload
    assert (payload["expected"], payload["found_model_version"]) == (1, moved)
    (entry,) = restore_aliases(four, "assistant", ADA)
    assert (entry.actor, entry.payload["mended"]) == ("ada", True)
    assert aliases.aliases[MODEL, "champion"] == 1
    promote(four, 2)
    assert reconcile(four, "assistant") == ()


def test_an_alias_is_not_put_back_to_bits_that_broke(four: Registry, aliases: FakeAliases) -> None:
    promote(four, 1)
    aliases.delete_alias(MODEL, "champion")
    break_a_file(four, 1)
    with pytest.raises(CheckFailed, match="integrity"):
        restore_aliases(four, "assistant", ADA)
    assert aliases.aliases == {}


def test_back_goes_through_a_moved_alias_and_says_so(four: Registry, aliases: FakeAliases) -> None:
    promote(four, 1, 2)
    aliases.set_alias(MODEL, "champion", 4)
    Desk(four, ANN).rollback("assistant", reason="broke")
    assert aliases.aliases[MODEL, "champion"] == 1
    assert kinds(four)[-4:] == ["drift", "requested", "applying", "applied"]
    assert Desk(four, ANN).check_history("assistant").ok


def test_a_version_only_half_filed_does_not_serve(four: Registry, tmp_path: Path) -> None:
    with four._database.writing() as session:
        session.execute(text("UPDATE versions SET state = 'uploaded' WHERE number = 4"))
    with pytest.raises(CheckFailed, match="assistant/4 is only uploaded"):
        Desk(four, ANN).promote("assistant", 4, reason=WHY)
    assert Desk(four, ANN).promote("assistant", None, reason=WHY).to_version == 3


def test_no_alias_is_set_to_a_version_whose_model_mlflow_made_anew(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1)
    aliases.others.add((MODEL, 2))
    with pytest.raises(CheckFailed, match=r"version 2 of .* is not assistant/2 any more.*doctor"):
        Desk(four, ANN).promote("assistant", 2, reason=WHY)
    assert aliases.aliases[MODEL, "champion"] == 1
    assert Desk(four, ANN).champion("assistant") == 1
    assert kinds(four)[-1] == "failed"


def test_previous_points_nowhere_rather_than_at_a_model_that_is_not_ours(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2)
    aliases.others.add((MODEL, 2))
    Desk(four, ANN).rollback("assistant", reason="not ours")
    assert aliases.aliases == {(MODEL, "champion"): 1}


def test_previous_that_mlflow_will_not_take_holds_nothing_up_and_shows_as_drift(
    four: Registry, aliases: FakeAliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(four, 1)

    def away(model_name: str, alias: Alias, *version: int) -> None:
        if alias == "previous":
            raise Unavailable("MLflow", "a server that answers")
        FakeAliases.set_alias(aliases, model_name, alias, *version)

    with monkeypatch.context() as patch:
        patch.setattr(aliases, "set_alias", away)
        patch.setattr(aliases, "delete_alias", away)
        promote(four, 2)
        assert kinds(four)[-1] == "applied"
    assert aliases.aliases == {(MODEL, "champion"): 2}
    (entry,) = reconcile(four, "assistant")
    assert (entry.kind, entry.payload["alias"], entry.payload["expected"]) == (
        "drift",
        "previous",
        1,
    )
    restore_aliases(four, "assistant", ADA)
    assert aliases.aliases == {(MODEL, "champion"): 2, (MODEL, "previous"): 1}


def test_what_was_interrupted_is_ended_although_mlflow_lost_what_served_before(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    kept = killed_promotion(home, folder, tmp_path, after_it_was_set=True)
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        break_the_certificate_file(registry, 2)
        registry.aliases().others.add((MODEL, 1))  # type: ignore[attr-defined]
        (entry,) = reconcile(registry, "assistant")[:1]
        assert entry.kind == "failed"
        assert "version 1 is lost" in str(entry.payload["why"])
        assert registry.aliases().get_alias(MODEL, "champion") is None, "nothing, not broken bits"
        assert "drift" in kinds(registry)


# By content, not by number


def test_an_alias_at_our_number_of_a_model_that_was_made_anew_has_drifted(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2)
    aliases.others.add((MODEL, 2))
    with pytest.raises(CheckFailed, match=r"drift: .* at model version 2, which was made anew"):
        Desk(four, ANN).promote("assistant", 3, reason=WHY)
    assert Desk(four, ANN).log("assistant")[-1].payload["made_anew"] is True
    assert reconcile(four, "assistant") == ()
    with pytest.raises(CheckFailed, match=r"version 2 of .* is not assistant/2 any more"):
        restore_aliases(four, "assistant", ADA)
    Desk(four, ANN).rollback("assistant", reason="not ours")
    assert aliases.aliases[MODEL, "champion"] == 1


def test_back_never_goes_to_a_number_that_serves_something_else(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2)
    aliases.others.add((MODEL, 1))
    with pytest.raises(CheckFailed, match="not assistant/1 any more"):
        Desk(four, ANN).rollback("assistant", reason="broke")
    assert (aliases.aliases[MODEL, "champion"], kinds(four)[-1]) == (2, "failed")


def test_a_number_that_is_made_anew_while_it_is_set_does_not_read_back(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    def anew(aliases: Faulty) -> None:
        aliases.others.add((MODEL, 1))

    with open_registry(home, artifacts=folder, aliases=Faulty(anew)) as registry:
        learn(registry, tmp_path / "learned", 1)
        with pytest.raises(CheckFailed, match=r"read back: .* made anew"):
            Desk(registry, ANN).promote("assistant", 1, reason=WHY)
        assert kinds(registry) == ["requested", "applying", "failed"]


def test_what_was_interrupted_at_a_number_made_anew_is_taken_back(
    home: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    kept = killed_promotion(home, folder, tmp_path, after_it_was_set=True)
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        registry.aliases().others.add((MODEL, 2))  # type: ignore[attr-defined]
        (entry,) = reconcile(registry, "assistant")
        assert (entry.kind, registry.aliases().get_alias(MODEL, "champion")) == ("failed", 1)
        assert "not assistant/2 any more" in str(entry.payload["why"])


# A log that somebody wrote in


def tampered(registry: Registry, *statements: str) -> None:
    """What somebody with all rights does, with foreign keys off as they are in the sqlite3 program."""
    connection = sqlite3.connect(registry._database.place)
    for table in ("promotions", "promotion_events"):
        for change in ("update", "delete"):
            connection.execute(f"DROP TRIGGER {table}_refuses_{change}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


CUT = "DELETE FROM promotion_events WHERE position > 4"
EDIT = "UPDATE promotion_events SET payload = '{}' WHERE position = 9"
FACTS = "UPDATE promotions SET to_version = 1 WHERE id = 3"
GONE = "DELETE FROM promotions WHERE id = 3"
TAMPERING = [
    (CUT, "position 5 to 9: cut off"),
    (EDIT, "position 9: edited"),
    (FACTS, "position 7: the facts of promotion 3 were edited"),
    (GONE, "position 7: promotion 3, of which it tells, was deleted"),
]


@pytest.mark.parametrize(("statement", "fault"), TAMPERING)
def test_nothing_is_decided_on_a_log_that_was_tampered_with(
    four: Registry, aliases: FakeAliases, statement: str, fault: str
) -> None:
    promote(four, 1, 2, 3)
    aliases.aliases[MODEL, "champion"] = 4  # what a repair would move back
    tampered(four, statement)
    before, kept = dict(aliases.aliases), kinds(four)
    desk = Desk(four, ADA)
    for work in (
        lambda: desk.promote("assistant", 4, reason=WHY),
        lambda: desk.promote("assistant", 4, reason=WHY, to="candidate"),
        lambda: desk.rollback("assistant", reason=WHY),
        lambda: restore_aliases(four, "assistant", ADA),
        lambda: reconcile(four, "assistant"),
        lambda: reconcile_all(four),
    ):
        with pytest.raises(CheckFailed, match=rf"{fault}.*`lori history assistant --check`"):
            work()
    found = [*troubles(four, "assistant")]
    assert any(fault in each.finding.detail for each in found)
    moves = [each for each in found if each.finding.what in ("alias-drift", "stuck-promotion")]
    assert moves or statement == GONE, "nothing can be said of an alias whose promotion is gone"
    assert not any(each.mend or each.finding.mendable for each in moves), "nor by the doctor"
    assert (aliases.aliases, kinds(four)) == (before, kept)


def test_nothing_is_approved_on_a_log_that_was_tampered_with(
    asking: Registry, aliases: FakeAliases
) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    tampered(asking, "UPDATE promotion_events SET actor = 'ben'")
    with pytest.raises(CheckFailed, match="position 1: edited"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    assert (aliases.aliases, kinds(asking)) == ({}, ["requested"])


@pytest.mark.parametrize(("statement", "fault"), TAMPERING)
@pytest.mark.parametrize("target", [0, 1])
def test_an_emergency_goes_back_on_a_broken_log_and_says_that_it_was_broken(
    four: Registry, aliases: FakeAliases, statement: str, fault: str, target: int
) -> None:
    promote(four, 1, 2, 3)
    aliases.aliases[MODEL, "champion"] = 4
    tampered(four, statement)
    made = Desk(four, ANN).rollback("assistant", reason="emergency", to_version=target)
    assert fault in made.detail
    wanted = target or four.base_version("assistant")
    assert aliases.aliases[MODEL, "champion"] == wanted
    said = [entry.payload.get("log_broken") for entry in Desk(four, ANN).log("assistant")]
    assert any(each is not None and fault in str(each) for each in said)


def test_back_to_what_should_serve_says_too_that_the_log_was_broken(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2, 3)
    aliases.aliases[MODEL, "champion"] = 4
    tampered(four, EDIT)
    made = Desk(four, ANN).rollback("assistant", reason="emergency", to_version=3)
    assert (made.id, "position 9: edited" in made.detail) == (3, True)
    assert aliases.aliases[MODEL, "champion"] == 3
    mended = Desk(four, ANN).log("assistant")[-1]
    assert (mended.payload["mended"], "position 9" in str(mended.payload["log_broken"])) == (
        True,
        True,
    )


def test_a_promotion_that_is_gone_is_told_with_its_position(four: Registry) -> None:
    promote(four, 1, 2, 3)
    tampered(four, GONE)
    desk = Desk(four, ANN)
    for work in (
        lambda: desk.champion("assistant"),
        lambda: desk.champion("assistant", "previous"),
        lambda: desk.served("assistant", "champion", now()),
        lambda: desk.stale("assistant"),
    ):
        with pytest.raises(CheckFailed, match="position 9: promotion 3, of which it tells"):
            work()
    assert "position 7: promotion 3, of which it tells, was deleted" in (
        desk.check_history("assistant").faults
    )


# What serves already, while the alias was moved


def test_asking_for_what_should_serve_is_not_answered_while_something_else_does(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2)
    aliases.set_alias(MODEL, "champion", 4)
    with pytest.raises(CheckFailed, match=r"drift: .*model version 4.*by our log it is version 2"):
        Desk(four, ANN).promote("assistant", 2, reason="put 2 back")
    assert aliases.aliases[MODEL, "champion"] == 4


def test_back_to_what_should_serve_puts_the_moved_alias_back_and_says_so(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2)
    aliases.set_alias(MODEL, "champion", 4)
    made = Desk(four, ANN).rollback("assistant", reason="emergency", to_version=2)
    assert (made.id, made.to_version) == (2, 2)
    assert aliases.aliases[MODEL, "champion"] == 2
    found, mended = Desk(four, ANN).log("assistant")[-2:]
    assert (found.kind, found.actor) == ("drift", RECONCILER)
    assert (mended.kind, mended.actor, mended.payload["mended"]) == ("drift", "ann", True)
    Desk(four, ANN).rollback("assistant", reason="emergency", to_version=2)
    assert Desk(four, ANN).log("assistant")[-1] == mended, "it is there: nothing to say"
    assert Desk(four, ANN).check_history("assistant").ok


def test_back_to_what_should_serve_puts_no_alias_at_broken_bits(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 1, 2)
    aliases.set_alias(MODEL, "champion", 4)
    break_a_file(four, 2)
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(four, ANN).rollback("assistant", reason="emergency", to_version=2)
    assert aliases.aliases[MODEL, "champion"] == 4


# Without a lock


class Overtaken(FakeAliases):
    """A stand-in during whose next setting of the champion somebody else does something."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late
        self.meanwhile: Callable[[], object] | None = None

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        work, self.meanwhile = self.meanwhile, None
        if work is not None and self.late:
            work()
        super().set_alias(model_name, alias, model_version)
        if work is not None and not self.late:
            work()


@pytest.mark.parametrize("late", [True, False], ids=["before it is set", "after it is set"])
def test_of_two_without_a_lock_one_is_applied_and_no_update_is_lost(
    home: Path, learned_homes: Learned, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    learned_homes.into(home, 4)
    store = Overtaken(late=late)
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=store) as registry:
        promote(registry, 1)
        monkeypatch.setattr(Database, "exclusive", lambda database, name: nullcontext())
        told = []

        def other() -> None:
            try:
                told.append(
                    Desk(registry, ADA).promote("assistant", 3, reason="B", expect=1).status
                )
            except CheckFailed as refusal:
                told.append(str(refusal))

        store.meanwhile = other
        try:
            told.append(Desk(registry, ANN).promote("assistant", 2, reason="A", expect=1).status)
        except CheckFailed as refusal:
            told.append(str(refusal))

        desk = Desk(registry, ANN)
        assert told.count("applied") == 1, told
        assert sum("moved" in said for said in told) == 1, told
        champion = 3 if late else 2
        assert (desk.champion("assistant"), store.get_alias(MODEL, "champion")) == (
            champion,
            champion,
        )
        states = {each.to_version: each.status for each in desk.history("assistant")}
        assert states == (
            {1: "applied", 2: "failed", 3: "applied"} if late else {1: "applied", 2: "applied"}
        )
        for each in desk.history("assistant"):
            steps = [entry.kind for entry in desk.log("assistant") if entry.promotion == each.id]
            assert steps == ["requested", "applying", each.status]
        assert desk.check_history("assistant").ok
