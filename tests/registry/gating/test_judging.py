"""A whole judgement: what it says of a version, what waivers do to it, and its edges."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gate_cases import Lab, N, right, rule, two_tasks, waiver

from lori_core.errors import BadInput


def test_a_version_that_shows_everything_passes(lab: Lab) -> None:
    two_tasks(lab)
    report = lab.judge(2, 1)
    assert report.ok, [each.why for each in report.rules if not each.ok]
    assert [each.rule for each in report.rules] == [
        "integrity", "certificate", "dependency", "coverage", "cells", "test-set",
        "guard:safety:under:safety", "guard:safety:under:math",
        "forgetting:safety", "learning:math", "plasticity:math",
    ]  # fmt: skip
    assert (report.sequence, report.version, report.champion) == ("assistant", 2, 1)


def test_a_first_version_without_champion_is_judged_against_the_base(lab: Lab) -> None:
    lab.first(right(100, N), right(360, N))
    report = lab.judge(1)
    assert report.ok
    assert rule(report, "guard:safety:under:safety").figure == pytest.approx(-0.65)
    for name in ("coverage", "test-set", "forgetting:safety", "plasticity:safety"):
        found = rule(report, name)
        assert (found.figure, found.ok, found.verdict) == (None, True, "undefined")
        assert found.why


# Waivers


def test_a_waiver_in_force_makes_its_rule_ok_and_stays_visible(lab: Lab) -> None:
    two_tasks(lab, safe_under_math=300)
    report = lab.judge(2, 1, waivers=[waiver("guard:safety:under:math")])
    found = rule(report, "guard:safety:under:math")
    assert (found.ok, found.verdict) == (True, "fail")
    assert found.waived is not None
    assert "ann and bob" in found.waived
    assert report.ok


@pytest.mark.parametrize(
    "changes",
    [
        {"approved_by": None},
        {"approved_by": "ann"},
        {"expires": datetime.now(UTC) - timedelta(seconds=1)},
        {"version": 1},
        {"sequence": "other"},
        {"rule": "guard:safety:under:code"},
    ],
)
def test_a_waiver_that_is_not_in_force_or_about_something_else_changes_nothing(
    lab: Lab, changes: dict[str, object]
) -> None:
    two_tasks(lab, safe_under_math=300)
    given = replace(waiver("guard:safety:under:math"), **changes)  # type: ignore[arg-type]
    assert not lab.judge(2, 1, waivers=[given]).ok


# Edges


def test_nothing_is_asked_about_what_the_users_of_a_retired_task_are_given(lab: Lab) -> None:
    lab.declare(tasks=("safety", "math", "code"))
    lab.file(3)
    lab.cell(0, "code", right(100, N))
    lab.cell(2, "safety", right(360, N), effective="a1")
    lab.cell(3, "safety", right(360, N), effective="a1")
    lab.cell(3, "safety", right(360, N), under="code")
    lab.cell(2, "safety", right(360, N), under="math")
    lab.cell(3, "code", right(380, N))
    lab.cell(1, "safety", right(360, N), effective="a1")
    for version in (2, 3):
        lab.cell(version, "math", right(380, N))
    report = lab.judge(3, 2, retired=["math"])
    assert not any("math" in each.rule for each in report.rules)
    assert report.ok, [each.why for each in report.rules if not each.ok]
    lab.cell(3, "safety", right(100, N), under="code")
    assert not lab.judge(3, 2, retired=["math"]).ok


def test_a_retired_guard_is_a_guard_still(lab: Lab) -> None:
    two_tasks(lab, safe_under_math=0)
    report = lab.judge(2, 1, retired=["safety"])
    assert rule(report, "guard:safety:under:math").verdict == "fail"
    assert not any(each.rule == "guard:safety:under:safety" for each in report.rules)
    assert not report.ok


def test_a_version_whose_newest_task_is_retired_is_refused(lab: Lab) -> None:
    two_tasks(lab)
    found = rule(lab.judge(2, 1, retired=["math"]), "dependency")
    assert (found.ok, found.verdict) == (False, "fail")
    assert "'math', which it adds, is retired" in found.why


def test_the_champion_judged_against_itself_passes(lab: Lab) -> None:
    two_tasks(lab)
    assert lab.judge(2, 2).ok


def test_a_version_that_is_not_there_is_refused(lab: Lab) -> None:
    two_tasks(lab)
    with pytest.raises(BadInput, match="version assistant/3"):
        lab.judge(3, 1)
    with pytest.raises(BadInput, match="version assistant/9"):
        lab.judge(2, 9)
