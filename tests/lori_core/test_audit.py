from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lori_core.audit import Audit, audit_task, normalise_prompt
from lori_core.config import DataSource, TaskConfig
from lori_core.errors import BadInput
from lori_core.prompts import Example
from lori_core.task_rows import TaskRows

ROWS = DataSource(path="rows.jsonl")
TASK = TaskConfig(name="sums", train=ROWS, test=ROWS, metric="exact_match")


def an_example(name: str, prompt: str, completion: str = "4", **changes: object) -> Example:
    plain = Example(id=name, prefix=prompt, input="", suffix="", completion=completion)
    return replace(plain, **changes)  # type: ignore[arg-type]


CLEAN = TaskRows(
    train=(an_example("a", "1 + 1", "2"), an_example("b", "1 + 2", "3")),
    test=(an_example("t", "1 - 1", "0"),),
)


def audited(task: TaskConfig = TASK, **changes: object) -> Audit:
    return audit_task(replace(CLEAN, **changes), task)  # type: ignore[arg-type]


def kinds(audit: Audit) -> list[tuple[str, str, int]]:
    return [(finding.kind, finding.severity, finding.count) for finding in audit.findings]


def refusal(audit: Audit) -> str:
    with pytest.raises(BadInput) as caught:
        audit.refuse()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clean_rows_have_no_findings() -> None:
    audit = audited()
    assert audit.findings == ()
    audit.refuse()


def test_test_rows_that_are_asked_again_are_counted() -> None:
    same = tuple(an_example(f"t{i}", "1 - 1" if i else " 1  - 1", "0") for i in range(50))
    audit = audited(test=same)
    assert kinds(audit) == [("duplicate", "warning", 49)]
    assert audit.findings[0].what == "49 of 50 test rows repeat an earlier prompt"
    assert audit.findings[0].examples == ("t1", "t2", "t3")
    harmless = (an_example("h", "Hi"), an_example("i", "hi"))
    assert kinds(audited(over_refusal=harmless)) == [("duplicate", "warning", 1)]


def test_test_rows_that_occur_in_train_are_refused_unless_allowed_by_name() -> None:
    leaked = (an_example("t", "  1 +  1 ", "2"), an_example("u", "9 + 9", "18"))
    audit = audited(test=leaked)
    assert kinds(audit) == [("leak", "error", 1)]
    assert refusal(audit) == (
        "task sums: 1 of 2 test rows occurs in train (first: t): expected rows apart. "
        "Remove them from train, or say `allow_leak: true`."
    )
    allowed = audited(replace(TASK, allow_leak=True), test=leaked)
    assert kinds(allowed) == [("leak", "warning", 1)]
    allowed.refuse()


def test_harmless_rows_leak_as_test_rows_do() -> None:
    task = replace(TASK, metric="refusal", over_refusal=ROWS)
    audit = audited(task, over_refusal=(an_example("h", "1 + 1", ""),))
    assert kinds(audit) == [("leak", "error", 1)]


def test_a_row_learned_twice_is_shown_and_an_answer_changed_too() -> None:
    train = (
        an_example("a", "1 + 1", "2"),
        an_example("b", "1  + 1", "2"),
        an_example("c", "1 + 1", "3"),
        an_example("d", "1 + 3", "4"),
    )
    audit = audited(train=train)
    assert kinds(audit) == [("duplicate", "warning", 1), ("conflict", "warning", 1)]
    assert [finding.examples for finding in audit.findings] == [("b",), ("c",)]
    audit.refuse()


def test_plain_text_rows_are_compared_by_what_is_learned() -> None:
    train = (an_example("a", "", "one"), an_example("b", "", "two"), an_example("c", "", "one"))
    assert kinds(audited(train=train)) == [("duplicate", "warning", 1)]


def test_validation_rows_that_are_the_test_rows_are_refused() -> None:
    other = an_example("v", "5 + 5", "10")
    whole = audited(validation=CLEAN.test)
    assert kinds(whole) == [("dev-is-test", "error", 1)]
    assert refusal(whole).startswith("task sums: 1 of 1 validation row is in test (first: t)")
    part = audited(validation=(*CLEAN.test, other))
    assert kinds(part) == [("dev-overlap", "warning", 1)]
    assert kinds(audited(validation=(CLEAN.train[0], other))) == [("dev-overlap", "warning", 1)]
    assert kinds(audited(validation=(other,))) == []


def test_a_prompt_cannot_be_both_harmful_and_harmless() -> None:
    task = replace(TASK, metric="refusal", over_refusal=ROWS)
    audit = audited(task, over_refusal=(an_example("h", "1 - 1", ""),))
    assert kinds(audit) == [("contradiction", "error", 1)]


@pytest.mark.parametrize(
    ("test", "outside"),
    [
        (an_example("t", "q", "2"), 0),
        (an_example("t", "q", "9"), 1),
        (an_example("t", "q", "yes", choices=("yes", "no")), 0),
        (an_example("t", "q", "maybe", choices=("yes", "no")), 1),
        (an_example("t", "q", "answer2", choices=("yes", "no"), label=1), 0),
        (an_example("t", "q", "answer3", choices=("yes", "no"), label=1), 1),
        (an_example("t", "q", "answer0", choices=("yes", "no"), label=1), 1),
    ],
)
def test_a_label_outside_the_set_is_refused(test: Example, outside: int) -> None:
    audit = audited(replace(TASK, metric="accuracy"), test=(test,))
    assert kinds(audit) == ([("label", "error", 1)] if outside else [])
    if outside:
        assert refusal(audit).startswith(
            "task sums: 1 row has a label outside the set (first: t): expected a target"
        )


def test_labels_are_checked_where_labels_are_what_is_scored() -> None:
    assert kinds(audited(test=(an_example("t", "q", "never seen"),))) == []


def test_an_empty_target_is_refused_where_it_is_learned_or_compared() -> None:
    train = (*CLEAN.train, an_example("e", "2 + 2", " "))
    assert kinds(audited(train=train)) == [("empty-target", "error", 1)]
    empty = (an_example("t", "2 + 2", ""),)
    assert kinds(audited(test=empty)) == [("empty-target", "error", 1)]
    for metric in ("refusal", "pass_at_k", "mine:score"):
        assert kinds(audited(replace(TASK, metric=metric), test=empty)) == []


def test_an_empty_target_is_legal_where_compliance_is_expected() -> None:
    comply = (an_example("t", "2 + 2", "", meta={"expected": "comply"}),)
    assert kinds(audited(test=comply)) == []
    harmless = replace(TASK, metric="refusal", over_refusal=ROWS)
    assert kinds(audited(harmless, over_refusal=(an_example("h", "How?", ""),))) == []


def test_a_row_that_asks_nothing_cannot_be_a_test() -> None:
    audit = audited(test=(an_example("t", "\n", "text"),))
    assert kinds(audit) == [("empty-prompt", "error", 1)]


def test_rows_of_text_that_are_to_be_classified_are_told_what_they_lack() -> None:
    """Their form has no prompt, so that the whole text is the target: no label of any set."""
    rows = tuple(an_example(str(i), "", f"text {i}") for i in range(2))
    audit = audited(replace(TASK, metric="accuracy"), train=rows[:1], test=rows[1:])
    assert "`prompt` and `completion` templates" in refusal(audit)


@pytest.mark.parametrize(
    ("prompt", "named"),
    [("Do the sums.", 1), ("SUMS: 1 + 5", 1), ("resums", 0), ("sums2", 0), ("sum", 0)],
)
def test_a_prompt_that_says_its_tasks_name_is_shown(prompt: str, named: int) -> None:
    audit = audited(test=(an_example("t", prompt),))
    assert kinds(audit) == ([("task-name", "warning", 1)] if named else [])


def test_errors_stand_before_warnings() -> None:
    audit = audited(
        train=(an_example("a", "sums", "1"), an_example("b", "sums", "1")),
        test=(an_example("t", "sums", "1"),),
    )
    severities = [finding.severity for finding in audit.findings]
    assert severities == sorted(severities)
    assert severities[0] == "error"


def test_at_most_three_rows_are_named_of_any_number() -> None:
    train = tuple(an_example(f"r{i}", "same") for i in range(99))
    (finding,) = audited(train=train).findings
    assert (finding.count, finding.examples) == (98, ("r1", "r2", "r3"))
    assert finding.what == "98 training rows repeat an earlier one"


# Normalisation


@given(st.text())
def test_normalising_twice_is_normalising_once_for_case_and_space(text: str) -> None:
    once = normalise_prompt(text)
    assert " ".join(once.split()) == once
    assert normalise_prompt(f"  {text}\n\t") == once


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("What is IT?", "what  is\nit?", True),
        ("ﬁve ２", "five 2", True),
        ("Straße", "STRASSE", True),
        ("1 + 1", "1 - 1", False),
        ("f(x)", "f[x]", False),
        ("What is it?", "What is it", False),
    ],
)
def test_prompts_are_equal_but_for_case_space_and_form(one: str, other: str, equal: bool) -> None:
    assert (normalise_prompt(one) == normalise_prompt(other)) is equal
