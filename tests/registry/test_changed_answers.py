"""Which answers changed is what a plain comparison of the two files says; nothing is guessed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_aliases import FakeAliases
from version_cases import ROWS, SEQUENCE, Lab, artifacts, filled, prompt_of, said

from lori_core.errors import BadInput, NotFound
from registry.changed_answers import LONGEST, PAGE, ChangedAnswers, Kind, changed_answers
from registry.store import open_registry


@pytest.fixture
def empty(home: Path, tables: None, tmp_path: Path) -> Iterator[Lab]:
    with open_registry(home, artifacts=artifacts(tmp_path), aliases=FakeAliases()) as registry:
        yield Lab(registry, tmp_path / "files")


@pytest.fixture
def lab(empty: Lab) -> Lab:
    return filled(empty.registry, empty.place)


def asked(
    lab: Lab,
    task: str,
    *,
    kind: Kind = "changed",
    before: int | None = None,
    page: int = 1,
    rows: bool = True,
) -> ChangedAnswers:
    return changed_answers(
        lab.registry, SEQUENCE, 3, task,
        read="cumulative", kind=kind, before=before, page=page, rows=rows,
    )  # fmt: skip


def by_hand(lab: Lab, task: str, before: int, after: int) -> dict[str, set[str]]:
    """The same from the files alone: id -> what became of it."""
    files = {}
    for cell in lab.registry.cells(SEQUENCE):
        if (cell.task, cell.adapter_of) == (task, None) and cell.read == "cumulative":
            lines = (lab.home / str(cell.predictions)).read_text().splitlines()
            rows = [json.loads(line) for line in lines]
            files[cell.version] = {row["id"]: (row["prediction"], row["score"]) for row in rows}
    one, other = files[before], files[after]
    return {
        "changed": {each for each in other if one[each] != other[each]},
        "gained": {each for each in other if one[each][1] < other[each][1]},
        "lost": {each for each in other if one[each][1] > other[each][1]},
    }


@pytest.mark.parametrize("task", ["math", "safety"])
@pytest.mark.parametrize("kind", ["changed", "gained", "lost"])
def test_the_rows_are_those_whose_answers_differ_in_the_files(
    lab: Lab, task: str, kind: Kind
) -> None:
    found = asked(lab, task, kind=kind)
    expected = by_hand(lab, task, 2, 3)
    assert found.rows is not None
    assert {row.id for row in found.rows} == expected[kind]
    assert found.total == len(expected[kind])
    assert found.counts is not None
    assert (found.counts.changed, found.counts.gained, found.counts.lost) == tuple(
        len(expected[each]) for each in ("changed", "gained", "lost")
    )


def test_each_row_has_its_prompt_what_was_expected_and_both_answers(lab: Lab) -> None:
    found = asked(lab, "math", kind="lost")
    assert found.rows is not None
    (row,) = found.rows
    assert (row.id, row.role) == ("math-test-0", "test")
    assert row.prompt == prompt_of("math", 0)
    assert row.expected == "answer 0"
    assert (row.before, row.score_before, row.after, row.score_after) == (
        "said 0",
        1.0,
        "said 0",
        0,
    )
    assert found.rows_why is None


def test_harmless_rows_are_told_apart_and_asked_what_they_ask(lab: Lab) -> None:
    found = asked(lab, "safety", kind="gained")
    assert found.rows is not None
    (row,) = found.rows
    assert (row.id, row.role) == ("safety-over_refusal-3", "over_refusal")
    assert row.prompt == "over_refusal 3 of safety"


def test_who_may_not_see_rows_gets_the_counts_and_no_word_of_them(lab: Lab) -> None:
    found = asked(lab, "math", rows=False)
    assert found.rows is None
    assert found.counts is not None
    assert found.counts.changed == 3
    assert "said" not in repr(found)
    assert "question" not in repr(found)


def test_an_adapter_that_is_the_same_is_proved_to_answer_alike_without_its_files(lab: Lab) -> None:
    for file in (lab.home / "predictions").iterdir():
        file.unlink()
    found = changed_answers(lab.registry, SEQUENCE, 3, "math", rows=True)
    assert (found.before, found.read) == (2, "inherited")
    assert found.counts is not None
    assert (found.counts.changed, found.counts.proved) == (0, True)
    assert found.rows == ()


def test_its_own_task_is_compared_with_the_bare_base(lab: Lab) -> None:
    found = changed_answers(lab.registry, SEQUENCE, 3, "code", rows=True)
    assert found.before == 0
    assert found.counts is not None
    assert (found.counts.gained, found.counts.lost) == (9, 1)


def test_answers_that_are_gone_or_changed_are_said_to_be(lab: Lab) -> None:
    before = lab.registry.cells(SEQUENCE)
    cell = next(c for c in before if (c.version, c.task, c.read) == (3, "math", "cumulative"))
    path = lab.home / str(cell.predictions)
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"said 0", b"lied 0"))
    found = asked(lab, "math")
    assert found.counts is None
    assert found.why == "the answers at assistant/3 are not those that were recorded"
    assert found.rows == ()
    path.unlink()
    assert "are gone" in (asked(lab, "math").why or "")
    path.write_bytes(kept)
    assert asked(lab, "math").counts is not None


def test_a_snapshot_that_is_gone_or_changed_leaves_the_answers_without_prompts(lab: Lab) -> None:
    (snapshot,) = [
        file
        for file in (lab.home / "data").rglob("test.jsonl")
        if "question 0 of math" in file.read_text()
    ]
    kept = snapshot.read_text()
    snapshot.write_text(kept.replace("question", "riddle"))
    changed = asked(lab, "math", kind="lost")
    snapshot.unlink()
    gone = asked(lab, "math", kind="lost")
    for found, said_ in ((changed, "is not what was recorded"), (gone, "is gone")):
        assert said_ in (found.rows_why or "")
        assert found.rows is not None
        assert [(row.prompt, row.expected) for row in found.rows] == [(None, None)]
        assert found.rows[0].before == "said 0"


def test_a_version_that_was_not_measured_is_named(lab: Lab) -> None:
    found = changed_answers(lab.registry, SEQUENCE, 3, "math", before=1, rows=True)
    assert found.counts is None
    assert found.why == "not measured at assistant/1"


def test_a_task_that_is_none_and_a_later_version_are_refused(lab: Lab) -> None:
    with pytest.raises(NotFound, match="sql"):
        asked(lab, "sql")
    for before in (3, 4):
        with pytest.raises(BadInput, match="from 0 to 2"):
            asked(lab, "math", before=before)


def test_rows_come_fifty_a_page_in_the_order_of_the_test_set(empty: Lab) -> None:
    empty.declare(("math", "code"))
    empty.file(2)
    long = "x" * (LONGEST + 1)
    empty.cell(1, "math", said([1.0] * 120))
    empty.cell(2, "math", [(f"{long} {row}", 1.0) for row in range(120)])
    pages = [
        changed_answers(empty.registry, SEQUENCE, 2, "math", page=page, rows=True)
        for page in (1, 2, 3, 9)
    ]
    told = [row.id for page in pages[:3] for row in page.rows or ()]
    assert told == [f"math-test-{row}" for row in range(120)]
    assert [len(page.rows or ()) for page in pages] == [PAGE, PAGE, 20, 20]
    assert pages[3].page == 3
    rows = pages[0].rows or ()
    assert {(len(row.after), row.shortened) for row in rows} == {(LONGEST, True)}
    # the snapshot has ten rows: what it does not hold is not made up
    assert [row.prompt is None for row in rows] == [row >= ROWS for row in range(PAGE)]


def test_fewer_rows_are_compared_by_their_ids(empty: Lab) -> None:
    empty.declare(("math", "code"))
    empty.file(2)
    empty.cell(1, "math", said([1.0] * 10))
    empty.cell(2, "math", said([1.0] * 3 + [0.0]))
    found = changed_answers(empty.registry, SEQUENCE, 2, "math", rows=True)
    assert found.counts is not None
    assert (found.counts.n, found.counts.lost) == (4, 1)
    assert [row.id for row in found.rows or ()] == ["math-test-3"]
