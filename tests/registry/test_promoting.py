"""Moving an alias: on the gate's word, against the champion it was decided on, whatever is killed."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from decision_cases import (
    ADA,
    ANN,
    BEN,
    OWNER,
    TOM,
    Faulty,
    HomeArtifacts,
    Learned,
    dying,
    learn,
)
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from registry_examples import killed_or_done
from sqlalchemy import text

from lori_core.errors import BadInput, CheckFailed, NotFound
from registry import applying, outbox
from registry.applying import RECONCILER, reconcile, restore_aliases
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry, open_registry

MODEL = "lori-assistant"
WHY = "better at code"


@pytest.fixture
def aliases() -> FakeAliases:
    return FakeAliases()


@pytest.fixture
def four(home: Path, learned_homes: Learned, aliases: FakeAliases) -> Iterator[Registry]:
    """Four versions, each of which its gate lets pass; every promotion is by hand."""
    learned_homes.into(home, 4)
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=aliases) as registry:
        yield registry


@pytest.fixture
def asking(home: Path, learned_homes: Learned, aliases: FakeAliases) -> Iterator[Registry]:
    """Three versions, and a policy that wants a second person."""
    learned_homes.into(home, 3, "approval")
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=aliases) as registry:
        yield registry


def kinds(registry: Registry) -> list[str]:
    return [entry.kind for entry in Desk(registry, ANN).log("assistant")]


def promote(registry: Registry, *versions: int) -> None:
    for version in versions:
        made = Desk(registry, ANN).promote("assistant", version, reason=WHY)
        assert (made.status, made.to_version) == ("applied", version)


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
    assert aliases.aliases[MODEL, "champion"] == 1
    assert desk.champion("assistant", "previous") == 2


def test_back_to_the_bare_base_points_at_the_version_that_serves_it(
    four: Registry, aliases: FakeAliases
) -> None:
    promote(four, 3)
    made = Desk(four, ANN).rollback("assistant", reason="broke", to_version=0)
    assert (made.kind, made.from_version, made.to_version) == ("rollback", 3, 0)
    assert Desk(four, ANN).champion("assistant") == 0
    assert aliases.aliases[MODEL, "champion"] == four.base_version("assistant")
    with pytest.raises(BadInput, match="nothing served before the bare base"):
        Desk(four, ANN).rollback("assistant", reason="broke")
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


def break_a_file(registry: Registry, version: int) -> None:
    path = registry.artifact_path("assistant", version) / "lori.safetensors"
    path.write_bytes(path.read_bytes() + b"!")


def break_the_certificate_file(registry: Registry, version: int) -> None:
    path = registry.artifact_path("assistant", version) / "certificate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "level": "G0"}))


def break_the_certificate_row(registry: Registry, version: int) -> None:
    with registry._database.writing() as session:
        session.execute(
            text('UPDATE certificates SET document = \'{"level": "G2"}\' WHERE number = :number'),
            {"number": version},
        )


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


# Killed, lost, moved behind our back


class Stored(FakeAliases):
    """A stand-in that keeps aliases in a file, so that they outlive the process that set them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.is_file():
            self.aliases = {(MODEL, key): value for key, value in json.loads(path.read_text())}

    def keep(self) -> None:
        self.path.write_text(json.dumps([[key, value] for (_, key), value in self.aliases.items()]))


def killed_promotion(
    home: Path, folder: FolderArtifacts, tmp_path: Path, *, after_it_was_set: bool
) -> Path:
    """Version 1 serves; a process that promotes 2 is killed right after, or before, it set the alias."""
    kept = tmp_path / "aliases.json"
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        learn(registry, tmp_path / "learned", 2)
        promote(registry, 1)
        registry.aliases().keep()  # type: ignore[attr-defined]

    class Killed(Stored):
        def set_alias(self, model_name: str, alias: str, model_version: int) -> None:
            if after_it_was_set:
                super().set_alias(model_name, alias, model_version)  # type: ignore[arg-type]
                self.keep()
            dying(self)

    def work() -> None:
        with open_registry(home, artifacts=folder, aliases=Killed(kept)) as registry:
            Desk(registry, ANN).promote("assistant", 2, reason=WHY)

    assert killed_or_done(work) == -9
    return kept


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
