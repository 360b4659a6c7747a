"""What the promotions page tells: the gate's judgement, what served then, the log, the evidence."""

import io
import sqlite3
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from decision_cases import ANN, HomeArtifacts, learn, measured
from fake_aliases import FakeAliases
from people import Person, add_pages, give_passwords
from promotion_visits import ASKER, PAGE, VIEWER, S, as_, promote, spoil, told, words
from sqlalchemy import select, text
from statements import counted

from dashboard.app import make_app
from dashboard.downloads import Downloads
from lori_core.digests import sha256_json
from registry import sequence_head
from registry.clock import now
from registry.decision_models import PromotionRow, ReportRow
from registry.decisions import Actor
from registry.desk import Desk
from registry.gating import policy_of
from registry.ledger import append, facts_hash
from registry.lineage import known_sequence
from registry.promotion_view import promotion_view
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry
from registry.timeline import timeline

API = "/api/sequences/assistant/promotions/overview"

pytestmark = pytest.mark.usefixtures("cheap_passwords")


# The gate


def test_looking_judges_nothing_and_the_button_does(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    assert "It was never judged" in words(ann.get(PAGE))
    assert reports(manual) == 0
    sent = ann.fill_in(f"{S}/gate", {"version": "2"})
    assert told(sent) == "judged"
    page = ann.get(sent.headers["location"])
    assert "The gate on assistant/2 passed" in words(page)
    assert reports(manual) == 1
    assert "every file, row and certificate is as it was filed" in words(page)


def reports(registry: Registry) -> int:
    with registry._database.reading() as session:
        return int(session.query(ReportRow).count())


def test_a_report_on_another_champion_says_that_it_may_not_stand(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    ann.fill_in(f"{S}/gate", {"version": "4"})
    promote(ann, version="1")
    page = words(ann.get(f"{PAGE}?version=4"))
    assert "it was judged while nothing served, and version 1 serves now" in page
    brief = sequence_view(manual, "assistant").gate
    assert brief is not None
    assert brief.stale == ("it was judged while nothing served, and version 1 serves now",)
    ann.fill_in(f"{S}/gate", {"version": "4"})
    brief = sequence_view(manual, "assistant").gate
    assert brief is not None
    assert brief.stale == ()


def test_the_count_of_rules_that_refuse_is_the_true_one(
    manual: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence_head, "REFUSING", 1)
    spoil(manual, 4)
    spoil(manual, 4, "t02")
    report = Desk(manual, ANN).gate("assistant", 4)
    brief = sequence_view(manual, "assistant").gate
    assert brief is not None
    assert len(brief.refusing) == 1
    assert brief.refusals == sum(not rule.ok for rule in report.rules) > 1


def test_what_refuses_comes_first_with_the_sentence_why_and_waivers(manual: Registry) -> None:
    spoil(manual, 4)
    spoil(manual, 4, "t02")
    ann = as_(manual, ASKER)
    ann.fill_in(f"{S}/gate", {"version": "4"})
    Desk(manual, ANN).waive(
        "assistant", 4, "forgetting:t02", "t02 is retired next week", now() + timedelta(days=3)
    )
    view = promotion_view(manual, "assistant", VIEWER, version=4)
    assert view.report is not None
    refusing = [rule.rule for rule in view.report.rules if not rule.ok]
    assert [rule.rule for rule in view.report.rules][: len(refusing)] == refusing
    assert {"forgetting:t01", "forgetting:t02"} <= set(refusing)
    page = words(ann.get(f"{PAGE}?version=4"))
    assert "100.0% → 0.0% on 60 rows" in page
    assert "t02 is retired next week" in page
    assert "waits forgetting:t02" in page


def test_underpowered_tells_the_rows_it_would_need(home: Path, tmp_path: Path) -> None:
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "files", 2)
        give_passwords(registry)
        cell = measured(registry, "assistant", 2, "t01", "inherited", score=1)
        registry.record_cell(
            replace(cell, effective_digest=sha256_json("anew"), key=sha256_json("anew"))
        )  # 60 of 60 both times, by another adapter: 60 rows cannot exclude a drop of two points
        ann = as_(registry, ASKER)
        ann.fill_in(f"{S}/gate", {"version": "2"})
        view = promotion_view(registry, "assistant", VIEWER, version=2)
        assert view.report is not None
        rule = next(each for each in view.report.rules if each.rule == "forgetting:t01")
        assert (rule.verdict, rule.n) == ("underpowered", 60)
        assert rule.needed is not None
        assert rule.needed > 60
        assert f"needs {rule.needed}" in words(ann.get(f"{PAGE}?version=2"))


def test_each_task_stands_beside_what_answers_for_it_now(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="2")
    promote(ann, version="4", to="candidate")
    view = promotion_view(manual, "assistant", VIEWER)
    assert [(b.difference.task, b.before, b.difference.how) for b in view.beside] == [
        ("t01", "assistant/2", "proved"),
        ("t02", "assistant/2", "proved"),
        ("t03", "the bare base", "paired"),
        ("t04", "the bare base", "paired"),
    ]
    new = view.beside[2]
    assert new.difference.change is not None
    assert new.difference.change.value == 1.0
    assert [rule.rule for rule in new.verdicts] == [
        "forgetting:t03", "learning:t03", "plasticity:t03",
    ]  # fmt: skip


# The past, and the log


def test_what_served_then_on_whose_word_on_what_evidence(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    times = []
    for version, reason in (("1", "the first"), ("2", "the second")):
        promote(ann, reason, version=version)
        times.append(Desk(manual, VIEWER).history("assistant", last=1)[0].applied_at)
    assert times[0] is not None
    at = times[0].isoformat().replace("+", "%2B")
    page = words(ann.get(f"{PAGE}?at={at}"))
    then = page.partition("What served on")[2]
    assert "UTC: assistant/1 (t01)" in then
    assert "asked by promoter" in then
    assert "the first" in then
    assert "gate report 1 , passed" in then
    assert "the second" not in then.partition("The log")[0]
    assert "nothing served" in words(ann.get(f"{PAGE}?at=2020-01-01T12:00"))
    wrong = ann.get(f"{PAGE}?at=yesterday")
    assert wrong.status_code == 400
    assert 'value="yesterday"' in wrong.text


def test_a_log_that_was_edited_is_told_with_the_position(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="1")
    with manual._database.writing() as session:
        session.execute(text("DROP TRIGGER promotion_events_refuses_update"))
        session.execute(text("UPDATE promotion_events SET actor = 'eve' WHERE position = 2"))
    page = ann.get(PAGE)
    assert page.status_code == 200
    assert "position 2: edited or moved (applying by eve)" in words(page)
    assert "Log of decisions broken" in words(page)


def test_a_promotion_that_was_deleted_leaves_the_page_readable(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="1")
    with closing(sqlite3.connect(manual._database.place)) as store, store:  # keys are not enforced
        store.execute("DROP TRIGGER promotions_refuses_delete")
        store.execute("DELETE FROM promotions")
    page = ann.get(f"{PAGE}?at=2999-01-01T00:00")
    assert page.status_code == 200
    assert "What serves is version 1, by the log alone" in words(page)
    assert "UTC: version 1, by the log alone (t01)" in words(page)
    assert "The promotion that put it there was deleted" in words(page)
    assert "version 1, by the log alone" in words(ann.get("/"))
    assert "version 1, by the log alone" in words(ann.get(f"{S}/versions"))
    head = sequence_view(manual, "assistant").head
    assert (head.champion, head.logged_champion) == (None, 1)
    assert head.fault is not None


def test_where_nothing_served_no_server_is_said_to_hold_it(manual: Registry) -> None:
    Desk(manual, ANN).confirm("assistant", 1, "t01", "inherited", "ab" * 32, "gpu-1", now())
    view = promotion_view(manual, "assistant", VIEWER, at=now())
    assert view.then is not None
    assert view.then.serving.version is None
    assert view.then.words.total == len(view.then.words.confirmations) == 0
    assert view.words.total == 1


def test_a_report_is_there_at_a_time_before_the_promotion_that_stands_on_it(
    asking: Registry,
) -> None:
    promote(as_(asking, ASKER), version="1")
    with asking._database.reading() as session:
        owner = known_sequence(session, "assistant")
        report, made = session.execute(
            select(ReportRow.created, PromotionRow.created).join(
                PromotionRow, PromotionRow.report_id == ReportRow.id
            )
        ).one()
        assert report < made
        then = timeline(session, owner, at=report).happenings
        later = timeline(session, owner, at=made).happenings
    assert [each.judged is not None for each in then] == [True]
    assert [each.promotion is not None for each in later] == [True]


def test_what_a_server_holds_is_told_beside_what_is_designated(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for version in ("1", "2"):
        promote(ann, version=version)
    desk = Desk(manual, ANN)
    for version in (1, 2, 1):  # the last word counts: it went back by itself
        desk.confirm("assistant", version, "t01", "inherited", "ab" * 32, "gpu-1", now())
    view = promotion_view(manual, "assistant", VIEWER)
    assert [(c.host, c.version, c.matches) for c in view.words.confirmations] == [
        ("gpu-1", 1, False)
    ]
    page = words(ann.get(PAGE))
    assert "gpu-1 t01 assistant/1 not what is designated" in page
    assert "unknown to us" in page


def test_text_of_strangers_is_text(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, '<script>alert("x")</script>', version="1")
    assert "<script>alert" not in ann.get(PAGE).text


def test_the_twin_says_what_the_page_shows(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    promote(ann, version="2")
    twin = ann.client.get(API, headers={"accept": "application/json"}).json()
    view = promotion_view(manual, "assistant", Actor(name=ASKER, role="promoter", account=True))
    assert twin["champion"]["version"] == view.champion.version == 2
    assert twin["chain"]["head"] == view.chain.head
    assert twin["report"] == (None if view.report is None else twin["report"])
    assert [h["promotion"]["id"] for h in twin["history"]["happenings"]] == [1]
    assert len(twin["beside"]) == 4


@pytest.mark.parametrize(
    "query", ["version=9", "version=0", "version=x", "report=77", "page=0", "only=best"]
)
def test_what_is_not_there_is_no_page(manual: Registry, query: str) -> None:
    assert as_(manual, "viewer").get(f"{PAGE}?{query}").status_code in {400, 404}


# How much it costs


def long_history(registry: Registry, moves: int) -> None:
    """Promotions there and back, as the desk would have written them, with reports between."""
    with registry._database.writing() as session:
        owner = known_sequence(session, "assistant")
        policy = session.execute(text("SELECT id FROM gate_policies")).scalar_one()
        for number in range(moves):
            row = PromotionRow(
                sequence_id=owner.id, kind="promote", alias="champion",
                from_version=1 + number % 2, to_version=2 - number % 2, requested_by="ann",
                reason=f"move {number}", expected=None, report_id=None, created=now(),
            )  # fmt: skip
            row.facts_sha256 = facts_hash("assistant", row, None)
            session.add(row)
            session.flush()
            for kind in ("requested", "applying", "applied"):
                append(session, owner, kind, "ann", {"to_version": row.to_version}, row)  # type: ignore[arg-type]
            document = {"rules": [], "test_uses": {}}
            session.add(
                ReportRow(
                    sequence_id=owner.id, number=1, policy_id=policy, champion=None, ok=True,
                    document=document, sha256=sha256_json(document), tests={}, created=now(),
                    created_by="ann",
                )
            )  # fmt: skip
            append(session, owner, "frozen", "ann", {"until": now().isoformat(), "reason": "x"})


def test_the_number_of_queries_does_not_grow_with_the_history(manual: Registry) -> None:
    ann = as_(manual, ASKER)
    for version in ("1", "2"):
        promote(ann, version=version)
    counts = []
    for moves in (2, 1000):
        long_history(manual, moves)
        with counted(manual) as sent:
            page = ann.get(f"{PAGE}?at=2999-01-01T00:00")
        assert page.status_code == 200
        counts.append(len(sent))
    assert counts[0] == counts[1]
    view = promotion_view(manual, "assistant", VIEWER, page=3)
    assert (view.history.total, len(view.history.happenings)) == (2 + 3 * 1002, 25)
    assert view.chain.length == 6 + 4 * 1002
    last = promotion_view(manual, "assistant", VIEWER, page=10**6).history
    assert last.page == -(-last.total // 25)
    assert last.happenings[-1].promotion is not None
    assert last.happenings[-1].promotion.id == 1


def test_the_number_of_queries_does_not_grow_with_versions(home: Path, tmp_path: Path) -> None:
    counts = []
    for many in (3, 12):
        place = home / str(many)
        with open_registry(
            place, artifacts=HomeArtifacts(place), aliases=FakeAliases()
        ) as registry:
            learn(registry, tmp_path / f"files-{many}", many)
            give_passwords(registry)
            ann = as_(registry, ASKER)
            promote(ann, version="1")
            ann.fill_in(f"{S}/gate", {"version": str(many)})
            assert policy_of(registry, "assistant").version == 1
            with counted(registry) as sent:
                page = ann.get(PAGE)
            assert page.text.count('scope="row"') > many
            counts.append(len(sent))
    assert counts[0] == counts[1]


# The bundle of evidence


@pytest.mark.parametrize("ended", [0, 1])
def test_the_evidence_is_what_the_command_writes_of_a_broken_version_too(
    manual: Registry, tmp_path: Path, ended: int
) -> None:
    script = tmp_path / "evidence.py"
    script.write_text(
        "import pathlib, sys\n"
        "assert sys.argv[1:3] == ['assistant/2', '--asked-by=viewer']\n"
        "to = pathlib.Path(sys.argv[sys.argv.index('--to') + 1])\n"
        f"to.mkdir(); (to / 'bundle.json').write_text('{{}}'); sys.exit({ended})\n"
    )
    app = add_pages(make_app(manual, token=None, errands=False))
    app.state.downloads = Downloads(manual.settings.home, evidence=(sys.executable, str(script)))
    person = Person(app)
    person.sign_in("viewer")
    found = person.get(f"{S}/versions/2/evidence.zip")
    assert found.status_code == 200
    with zipfile.ZipFile(io.BytesIO(found.content)) as archive:
        assert archive.namelist() == ["evidence-assistant-2/bundle.json"]
    assert person.get(f"{S}/versions/9/evidence.zip").status_code == 404
