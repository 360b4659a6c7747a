"""A new version of a known task must gain over the one it supersedes, on that one's test set."""

from dataclasses import replace

import pytest
from gate_cases import Lab, right

from lori_core.digests import sha256_json
from registry.beside import beside
from registry.lineage import known_sequence

TEST = sha256_json(["math", "test"])


def learned(lab: Lab, old: int, new: int, **changes: str) -> None:
    """math, then math-2 that supersedes it: so many of 400 rows right."""
    lab.declare(tasks=("math", "math-2"), guards=())
    first, second = lab.registry.tasks("assistant")
    told = {**second.config, "supersedes": "math"}
    test = {**second.data, "test": TEST, **changes}
    lab.registry.declare_task("assistant", replace(second, config=told, data=test))
    assert first.data["test"] == TEST
    lab.file(2)
    for version in (1, 2):
        lab.cell(version, "math", right(old, 400), effective="old")
    lab.cell(0, "math", right(0, 400))
    lab.cell(0, "math-2", right(0, 400), test_digest=test["test"])
    lab.cell(2, "math-2", right(new, 400), test_digest=test["test"])


@pytest.mark.parametrize("champion", [None, 1])
def test_better_than_the_old_one_passes_and_worse_fails(lab: Lab, champion: int | None) -> None:
    learned(lab, old=200, new=260)
    found = {rule.rule: rule for rule in lab.judge(2, champion).rules}["learning:math-2"]
    assert (found.ok, found.verdict) == (True, "pass")
    assert "gain over math" in found.why
    assert found.figure == pytest.approx(0.15)


def test_worse_than_the_old_one_fails_though_it_learned_much(lab: Lab) -> None:
    learned(lab, old=260, new=200)
    found = {rule.rule: rule for rule in lab.judge(2, 1).rules}["learning:math-2"]
    assert (found.ok, found.verdict) == (False, "fail")
    assert found.figure == pytest.approx(-0.15)


def test_another_test_set_is_no_comparison(lab: Lab) -> None:
    learned(lab, old=200, new=260, test=sha256_json("others"))
    found = {rule.rule: rule for rule in lab.judge(2, 1).rules}["learning:math-2"]
    assert not found.ok
    assert "different test sets" in found.why


@pytest.mark.parametrize(("champion", "now"), [(None, 2), (1, 1)])
def test_a_page_sets_it_beside_the_task_that_the_gate_compares_it_with(
    lab: Lab, champion: int | None, now: int
) -> None:
    learned(lab, old=200, new=260)
    rules = lab.judge(2, champion).rules
    with lab.registry._database.reading() as session:
        owner = known_sequence(session, "assistant")
        old, new = beside(
            lab.registry, session, owner, 2, champion, "inherited", ("math", "math-2"), rules
        )
    found = {rule.rule: rule for rule in rules}["learning:math-2"]
    assert new.before == f"math at assistant/{now}"
    assert new.difference.task == "math-2"
    assert new.difference.change is not None
    assert found.figure is not None
    assert new.difference.change.value == pytest.approx(found.figure)
    assert (old.answered_by, new.answered_by) == ("math-2", None)


def test_without_the_new_one_its_users_fall_back_to_the_task_it_supersedes(lab: Lab) -> None:
    learned(lab, old=200, new=260)
    found = {rule.rule: rule for rule in lab.judge(1, 2).rules}["coverage"]
    assert not found.ok
    assert found.why.startswith("math-2 would fall back to math: assistant/2 serves what")
    retired = {rule.rule: rule for rule in lab.judge(1, 2, retired=["math"]).rules}["coverage"]
    assert retired.why.startswith("math-2 would fall back to nothing (math is retired): ")
