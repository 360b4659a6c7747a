from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from gate_cases import Lab, right
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lori_core.digests import sha256_json
from registry.decisions import GateReport
from registry.gating import policy_of, record
from registry.gating.report import report_document
from registry.store import open_registry


@pytest.fixture
def either(tables_kind: str, home: Path, folder: FolderArtifacts, tmp_path: Path) -> Iterator[Lab]:
    with open_registry(home, artifacts=folder) as registry:
        lab = Lab(registry, tmp_path / "made")
        lab.first(right(100, 400), right(360, 400))
        yield lab


def again(lab: Lab, **gate: object) -> None:
    lab.declare(tasks=("safety",), **gate)  # type: ignore[arg-type]


def test_a_report_is_kept_with_its_digest_and_its_policy(either: Lab) -> None:
    judged = either.judge(1)
    assert (judged.id, judged.sha256, judged.policy.version) == (None, None, None)
    kept = record(either.registry, judged, "ann")
    assert kept.id is not None
    assert kept.created is not None
    assert kept.policy.version == 1
    assert kept.sha256 == sha256_json(report_document(kept))
    assert (kept.rules, kept.ok) == (judged.rules, judged.ok)


def test_what_is_kept_reads_back_as_it_was_and_pins_the_cells_it_stands_on(either: Lab) -> None:
    kept = record(either.registry, either.judge(1), "ann")
    with either.registry._database.reading() as session:
        row = session.execute(text("SELECT sha256, created_by, number, ok FROM gate_reports")).one()
    assert tuple(row) == (kept.sha256, "ann", 1, True)
    cells = {cell.key for cell in either.registry.cells("assistant")}
    assert set(kept.evidence.values()) == cells
    assert kept.tests == {"safety": sha256_json(["safety", "test"])}


def test_a_policy_is_numbered_once_for_each_content(either: Lab) -> None:
    first = record(either.registry, either.judge(1), "ann")
    again(either, max_guard_drop=0.5)
    second = record(either.registry, either.judge(1), "ann")
    again(either)
    third = record(either.registry, either.judge(1), "bob")
    assert [each.policy.version for each in (first, second, third)] == [1, 2, 1]
    assert policy_of(either.registry, "assistant").version == 1


def test_every_recorded_use_of_a_test_set_is_counted_over_all_sequences(either: Lab) -> None:
    assert either.judge(1).test_uses == {"safety": 1}
    assert either.judge(1).test_uses == {"safety": 1}  # judged, not recorded
    record(either.registry, either.judge(1), "ann")
    again(either, max_guard_drop=0.5)
    record(either.registry, either.judge(1), "ann")
    assert either.judge(1).test_uses == {"safety": 3}
    either.declare(sequence="other", tasks=("safety",))
    either.file(1, sequence="other")
    either.cell(0, "safety", right(100, 400), sequence="other")
    either.cell(1, "safety", right(360, 400), sequence="other")
    assert either.judge(1, sequence="other").test_uses == {"safety": 3}


def test_a_report_that_says_nothing_new_is_kept_once_and_uses_no_test_set_again(
    either: Lab,
) -> None:
    first = record(either.registry, either.judge(1), "ann")
    assert record(either.registry, either.judge(1), "bob") == first
    assert first.sha256 == sha256_json(report_document(first))
    assert either.judge(1).test_uses == {"safety": 2}
    either.cell(1, "safety", right(360, 400), effective="another")
    measured_again = record(either.registry, either.judge(1), "ann")
    assert (measured_again.id, measured_again.test_uses) == (2, {"safety": 2})
    against_another = record(either.registry, either.judge(1, champion=0), "ann")
    assert against_another.id == 3
    refused = record(
        either.registry, either.judge(1, stale={1: "its base went"}, champion=0), "ann"
    )
    assert (refused.id, refused.ok) == (4, False)
    assert record(either.registry, either.judge(1, champion=0), "ann").id == 5, "only the newest"


@pytest.mark.parametrize("table", ["gate_reports", "gate_policies"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET created_by = 'x'", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_what_was_judged(
    either: Lab, table: str, statement: str
) -> None:
    record(either.registry, either.judge(1), "ann")
    with pytest.raises(SQLAlchemyError), either.registry._database.writing() as session:
        session.execute(text(statement.format(table)))


def test_the_digest_covers_every_rule(either: Lab) -> None:
    kept = record(either.registry, either.judge(1), "ann")
    changed: GateReport = replace(kept, rules=(replace(kept.rules[0], ok=False), *kept.rules[1:]))
    assert sha256_json(report_document(changed)) != kept.sha256
