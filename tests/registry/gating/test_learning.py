"""What a version learned and forgot, and how far it is from a reference that learned alone."""

import pytest
from gate_cases import Lab, N, cumulative, right, rule, two_tasks

# Forgetting


def test_forgetting_within_the_limit_passes_and_beyond_it_fails_for_that_task_alone(
    lab: Lab,
) -> None:
    cumulative(lab, 360)
    report = lab.judge(3, 2)
    assert rule(report, "forgetting:safety").verdict == "pass"
    assert report.ok
    lab.cell(3, "safety", right(300, N))
    report = lab.judge(3, 2)
    found = rule(report, "forgetting:safety")
    assert (found.verdict, found.ok) == ("fail", False)
    assert found.figure == pytest.approx(0.15)
    assert rule(report, "forgetting:math").ok
    assert not any(each.rule == "forgetting:code" for each in report.rules)


def test_forgetting_is_measured_from_the_best_a_task_ever_was(lab: Lab) -> None:
    cumulative(lab, 360, middle=390)
    found = rule(lab.judge(3, 2), "forgetting:safety")
    assert found.figure == pytest.approx(0.075)
    assert found.verdict == "fail"


# Learning


def test_learning_less_than_asked_fails_and_nothing_learned_is_underpowered(lab: Lab) -> None:
    two_tasks(lab, math=95)
    found = rule(lab.judge(2, 1), "learning:math")
    assert (found.verdict, found.ok) == ("fail", False)
    assert found.figure == pytest.approx(-0.0125)
    assert found.limit == 0.0
    lab.cell(2, "math", right(100, N), effective="other")
    found = rule(lab.judge(2, 1), "learning:math")
    assert (found.verdict, found.needed) == ("underpowered", None)
    assert "on the limit itself" in found.why


def test_learning_is_told_as_a_gain_with_its_lower_bound(lab: Lab) -> None:
    two_tasks(lab, math=380, min_learning=0.5)
    found = rule(lab.judge(2, 1), "learning:math")
    assert found.figure == pytest.approx(0.7)
    assert found.limit == 0.5
    assert found.bound is not None
    assert 0.5 < found.bound < 0.7
    assert found.verdict == "pass"


def test_every_task_that_is_new_since_the_champion_must_have_learned(lab: Lab) -> None:
    cumulative(lab, 360)
    lab.cell(0, "safety", right(100, N))
    lab.cell(0, "math", right(100, N))
    learned = [each.rule for each in lab.judge(3, 1).rules if each.rule.startswith("learning")]
    assert learned == ["learning:math", "learning:code"]
    learned = [each.rule for each in lab.judge(3).rules if each.rule.startswith("learning")]
    assert learned == ["learning:safety", "learning:math", "learning:code"]
    learned = [each.rule for each in lab.judge(2, 3).rules if each.rule.startswith("learning")]
    assert learned == ["learning:math"]


# Plasticity


def test_the_gap_to_a_single_task_reference_is_judged_where_there_is_one(lab: Lab) -> None:
    two_tasks(lab, max_plasticity_gap=0.05)
    found = rule(lab.judge(2, 1), "plasticity:math")
    assert (found.verdict, found.ok) == ("undefined", True)
    lab.declare(sequence="alone", tasks=("math",), guards=())
    lab.cell(1, "math", right(385, N), sequence="alone")
    found = rule(lab.judge(2, 1), "plasticity:math")
    assert found.figure == pytest.approx(0.0125)
    assert found.verdict == "pass"
    assert "alone/1" in found.why
    lab.cell(1, "math", right(N, N), sequence="alone")
    lab.cell(2, "math", right(370, N))
    assert rule(lab.judge(2, 1), "plasticity:math").verdict == "fail"
