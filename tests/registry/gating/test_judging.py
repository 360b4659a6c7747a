"""Each rule: a case that passes it, one that fails it, and what is undefined by construction."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gate_cases import Lab, right, rule
from sound_versions import file_sound, sound_record

from lori_core.digests import sha256_json
from lori_core.errors import BadInput
from registry.decisions import Waiver

N = 400


def two_tasks(lab: Lab, *, math: int = 380, safe_under_math: int = 360, **gate: object) -> None:
    """safety, then math: 360 of 400 safe under its own adapter and the champion's."""
    lab.declare(**gate)  # type: ignore[arg-type]
    lab.file(2)
    lab.cell(0, "safety", right(100, N))
    lab.cell(0, "math", right(100, N))
    lab.cell(1, "safety", right(360, N), effective="a1")
    lab.cell(2, "safety", right(360, N), effective="a1")
    lab.cell(2, "math", right(math, N))
    lab.cell(2, "safety", right(safe_under_math, N), under="math")


def test_a_version_that_shows_everything_passes(lab: Lab) -> None:
    two_tasks(lab)
    report = lab.judge(2, 1)
    assert report.ok, [each.why for each in report.rules if not each.ok]
    assert [each.rule for each in report.rules] == [
        "integrity", "certificate", "dependency", "cells", "test-set",
        "guard:safety:under:safety", "guard:safety:under:math",
        "forgetting:safety", "learning:math", "plasticity:math",
    ]  # fmt: skip
    assert (report.sequence, report.version, report.champion) == ("assistant", 2, 1)


def test_a_first_version_without_champion_is_judged_against_the_base(lab: Lab) -> None:
    lab.first(right(100, N), right(360, N))
    report = lab.judge(1)
    assert report.ok
    assert rule(report, "guard:safety:under:safety").figure == pytest.approx(-0.65)
    for name in ("test-set", "forgetting:safety", "plasticity:safety"):
        found = rule(report, name)
        assert (found.figure, found.ok, found.verdict) == (None, True, "undefined")
        assert found.why


# Facts


def test_integrity_fails_on_a_changed_file_and_no_waiver_helps(lab: Lab) -> None:
    two_tasks(lab)
    folder = lab.registry.artifact_path("assistant", 1)
    (folder / "lori.safetensors").write_bytes(b"other")
    report = lab.judge(2, 1, waivers=[waiver("integrity")])
    found = rule(report, "integrity")
    assert (found.ok, found.verdict, found.figure, found.waived) == (False, "fail", 1.0, None)
    assert "assistant/1" in found.why
    assert not report.ok


def test_a_certificate_below_the_policy_fails_and_no_waiver_helps(lab: Lab) -> None:
    lab.declare(tasks=("safety",))
    lab.file(1, level="G1")
    lab.cell(0, "safety", right(100, N))
    lab.cell(1, "safety", right(360, N))
    found = rule(lab.judge(1, waivers=[waiver("certificate", version=1)]), "certificate")
    assert (found.figure, found.limit, found.ok, found.waived) == (1.0, 2.0, False, None)


def test_what_a_read_mode_cannot_reach_is_not_asked_and_that_is_said(lab: Lab) -> None:
    lab.declare(tasks=("safety",), read="cumulative", certificate="G2")
    lab.file(1)
    lab.cell(0, "safety", right(100, N))
    lab.cell(1, "safety", right(360, N))
    found = rule(lab.judge(1), "certificate")
    assert (found.figure, found.limit, found.ok) == (1.0, 1.0, True)
    assert "G1 is all it can reach" in found.why


def test_a_certificate_proves_the_read_it_is_about_and_no_other(lab: Lab) -> None:
    lab.declare(tasks=("safety",))
    file_sound(lab.registry, lab.place, sound_record(1, tasks=("safety",), read="isolated"))
    found = rule(lab.judge(1), "certificate")
    assert (found.figure, found.ok) == (1.0, False)
    assert "trained under" in found.why


def test_a_gate_on_another_read_than_the_one_that_serves_judges_nothing(lab: Lab) -> None:
    """Guards are measured under what serves: another read's cells of them know nothing of it."""
    two_tasks(lab)
    lab.registry.declare_sequence(
        replace(
            lab.registry.sequence("assistant"),
            settings={"guards": ["safety"], "gate": {"read": "cumulative"}},
        )
    )
    with pytest.raises(BadInput, match=r"gate\.read 'cumulative': expected 'inherited'"):
        lab.judge(2, 1)


def test_a_stale_version_fails_and_says_why(lab: Lab) -> None:
    two_tasks(lab)
    assert rule(lab.judge(2, 1, stale={1: "1 was rolled back"}), "dependency").ok
    found = rule(lab.judge(2, 1, stale={2: "it stands on 1"}), "dependency")
    assert (found.ok, found.why) == (False, "it stands on 1")


def test_a_missing_cell_fails_by_name_and_so_does_what_needed_it(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(0, "safety", right(100, N))
    lab.cell(0, "math", right(100, N))
    lab.cell(1, "safety", right(360, N))
    lab.cell(2, "safety", right(360, N))
    lab.cell(2, "safety", right(360, N), under="math")
    report = lab.judge(2, 1)
    assert "R[2, math] was not measured under the inherited read" in rule(report, "cells").why
    found = rule(report, "learning:math")
    assert (found.figure, found.ok, found.verdict) == (None, False, "fail")
    assert not report.ok


def test_the_row_of_the_version_must_be_whole_even_where_no_rule_compares_it(lab: Lab) -> None:
    lab.declare(tasks=("safety", "math", "code"), guards=())
    lab.file(3)
    for k, task in ((0, "code"), (1, "safety"), (2, "math"), (3, "safety"), (3, "code")):
        lab.cell(k, task, right(300 if k else 100, N), effective=f"a-{task}")
    report = lab.judge(3, 2)
    assert "R[3, math]" in rule(report, "cells").why


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_predictions_that_are_gone_or_changed_are_no_evidence(lab: Lab, harm: str) -> None:
    two_tasks(lab)
    place = lab.registry.cells("assistant")[-1].predictions
    assert place is not None
    path = lab.registry.settings.home / place
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b'"score": 0.0', b'"score": 1.0', 1))
    report = lab.judge(2, 1)
    assert not rule(report, "cells").ok
    assert ("gone" if harm == "gone" else "not those") in rule(report, "cells").why
    assert not report.ok


def test_a_cell_whose_value_is_not_what_its_predictions_give_is_no_evidence(lab: Lab) -> None:
    two_tasks(lab)
    lab.cell(2, "math", right(380, N), value=0.99, key=sha256_json("forged"))
    report = lab.judge(2, 1)
    assert "0.99" in rule(report, "cells").why
    assert not rule(report, "learning:math").ok


@pytest.mark.parametrize("score", [float("nan"), 1.5, -0.1])
def test_a_score_that_is_none_never_passes(lab: Lab, score: float) -> None:
    two_tasks(lab)
    lab.cell(2, "math", [score, *right(379, N - 1)], value=0.95, key=sha256_json("odd"))
    report = lab.judge(2, 1)
    assert "no score from 0 to 1" in rule(report, "cells").why
    assert rule(report, "learning:math").verdict == "fail"


def test_a_champion_on_another_test_set_fails_test_set_and_every_comparison(lab: Lab) -> None:
    two_tasks(lab)
    assert rule(lab.judge(2, 1), "test-set").ok
    lab.cell(1, "safety", right(360, N), test_digest="f" * 64, key=sha256_json("other"))
    report = lab.judge(2, 1)
    assert not rule(report, "test-set").ok
    assert rule(report, "guard:safety:under:math").verdict == "fail"


# Guards


def test_a_guard_that_drops_under_a_new_task_fails(lab: Lab) -> None:
    two_tasks(lab, safe_under_math=300)
    report = lab.judge(2, 1)
    found = rule(report, "guard:safety:under:math")
    assert (found.ok, found.verdict) == (False, "fail")
    assert found.figure == pytest.approx(0.15)
    assert found.limit == 0.03
    assert found.bound is not None
    assert found.bound > 0.15
    assert "60 fell, 0 rose" in found.why
    assert rule(report, "guard:safety:under:safety").ok


def test_a_new_task_inherits_and_is_compared_with_what_it_would_inherit(lab: Lab) -> None:
    """Not with the base, against which losing most of what safety taught would be a gain."""
    two_tasks(lab, safe_under_math=200)  # the base is at 100, the champion at 360
    assert rule(lab.judge(2, 1), "guard:safety:under:math").figure == pytest.approx(0.4)
    assert rule(lab.judge(2, 0), "guard:safety:under:math").figure == pytest.approx(-0.25)
    assert rule(lab.judge(2), "guard:safety:under:math").figure == pytest.approx(-0.25)


def test_an_isolated_new_task_is_compared_with_the_base_which_its_users_are_given_now(
    lab: Lab,
) -> None:
    lab.declare(read="isolated")
    lab.file(2)
    for task in ("safety", "math"):
        lab.cell(0, task, right(100, N))
        lab.cell(2, task, right(360, N), effective=task)
    lab.cell(1, "safety", right(360, N), effective="safety")
    lab.cell(2, "safety", right(100, N), under="math")
    assert rule(lab.judge(2, 1), "guard:safety:under:math").figure == 0.0


def test_a_small_sample_is_underpowered_with_the_rows_it_would_need(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    for task in ("safety", "math"):
        lab.cell(0, task, right(5, 40))
    lab.cell(1, "safety", right(36, 40), effective="a1")
    lab.cell(2, "safety", right(36, 40), effective="a1")
    lab.cell(2, "math", right(38, 40))
    lab.cell(2, "safety", right(36, 40), under="math")
    report = lab.judge(2, 1)
    found = rule(report, "guard:safety:under:math")
    assert (found.figure, found.ok, found.verdict, found.n) == (0.0, False, "underpowered", 40)
    assert found.needed == 99  # 1 - 0.05^(1/99) is the first within 0.03
    assert "99" in found.why
    assert not report.ok


def test_under_a_policy_that_warns_an_underpowered_rule_is_ok_and_a_failed_one_is_not(
    lab: Lab,
) -> None:
    lab.declare(underpowered="warn")
    lab.file(2)
    for task in ("safety", "math"):
        lab.cell(0, task, right(5, 40))
        lab.cell(2, task, right(36, 40))
    lab.cell(1, "safety", right(36, 40))
    lab.cell(2, "safety", right(36, 40), under="math")
    found = rule(lab.judge(2, 1), "guard:safety:under:math")
    assert (found.ok, found.verdict) == (True, "underpowered")
    lab.cell(2, "safety", right(30, 40), under="math")
    found = rule(lab.judge(2, 1), "guard:safety:under:math")
    assert (found.ok, found.verdict) == (False, "fail")


def test_the_same_adapter_as_the_champions_is_exactly_equal_whatever_the_sample(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    for task in ("safety", "math"):
        lab.cell(0, task, [0.0])
        lab.cell(2, task, [1.0], effective=task)
    lab.cell(1, "safety", [1.0], effective="safety")
    lab.cell(2, "safety", [1.0], under="math", effective="safety")
    for name in ("guard:safety:under:safety", "guard:safety:under:math", "forgetting:safety"):
        found = rule(lab.judge(2, 1), name)
        assert (found.figure, found.bound, found.verdict) == (0.0, 0.0, "pass")
        assert "proved equal" in found.why


def test_both_parts_of_a_refusal_count_and_are_not_mixed_up(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    for task in ("safety", "math"):
        lab.cell(0, task, right(100, 300), harmless=right(50, 100) if task == "safety" else ())
    lab.cell(1, "safety", right(300, 300), harmless=right(90, 100), effective="a1")
    lab.cell(2, "safety", right(300, 300), harmless=right(90, 100), effective="a1")
    lab.cell(2, "math", right(290, 300))
    lab.cell(2, "safety", right(300, 300), harmless=right(70, 100), under="math")
    found = rule(lab.judge(2, 1), "guard:safety:under:math")
    assert found.figure == pytest.approx(0.1)  # (0 + 20 of 100) / 2, not 20 of 400
    assert (found.verdict, found.n) == ("fail", 400)
    assert "0+20 fell" in found.why


def test_parts_that_do_not_add_up_are_no_evidence(lab: Lab) -> None:
    two_tasks(lab)
    lab.cell(
        2, "safety", right(360, N), under="math",
        parts={"refused": {"n": 3}, "answered": {"n": 4}},
        key=sha256_json("odd parts"),
    )  # fmt: skip
    assert "do not add up" in rule(lab.judge(2, 1), "cells").why


def test_an_encoder_has_no_head_before_its_task(lab: Lab) -> None:
    lab.declare(guards=("safety", "math"))
    lab.file(2, head=True)
    lab.cell(1, "safety", right(360, N), effective="a1")
    lab.cell(2, "safety", right(360, N), effective="a1")
    lab.cell(2, "math", right(380, N))
    lab.cell(2, "safety", right(360, N), under="math")
    lab.cell(2, "math", right(380, N), under="safety")
    report = lab.judge(2, 1)
    assert report.ok, [each.why for each in report.rules if not each.ok]
    for name in ("learning:math", "guard:math:under:math", "guard:math:under:safety"):
        assert rule(report, name).verdict == "undefined"
    assert rule(report, "guard:safety:under:math").verdict == "pass"


def test_without_guards_that_is_said(lab: Lab) -> None:
    two_tasks(lab)
    settings = {**lab.registry.sequence("assistant").settings, "guards": []}
    lab.registry.declare_sequence(replace(lab.registry.sequence("assistant"), settings=settings))
    found = rule(lab.judge(2, 1), "guard")
    assert (found.verdict, found.ok) == ("undefined", True)


def test_rows_are_matched_by_id_where_one_side_scored_more(lab: Lab) -> None:
    two_tasks(lab)
    lab.cell(2, "safety", right(360, 500), under="math", ids=[f"row-{i}" for i in range(500)])
    found = rule(lab.judge(2, 1), "guard:safety:under:math")
    assert (found.n, found.figure, found.verdict) == (N, 0.0, "pass")
    lab.cell(2, "safety", right(360, N), under="math", ids=[f"else-{i}" for i in range(N)])
    assert "no rows in common" in rule(lab.judge(2, 1), "guard:safety:under:math").why


# Forgetting


def cumulative(lab: Lab, kept: int, *, middle: int = 360) -> None:
    lab.declare(tasks=("safety", "math", "code"), guards=(), read="cumulative")
    lab.file(3)
    lab.cell(0, "code", right(100, N))
    lab.cell(1, "safety", right(360, N))
    lab.cell(2, "safety", right(middle, N))
    lab.cell(2, "math", right(360, N))
    lab.cell(3, "safety", right(kept, N))
    lab.cell(3, "math", right(360, N))
    lab.cell(3, "code", right(380, N))


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


# Waivers


def waiver(name: str, version: int = 2, **changes: object) -> Waiver:
    made = Waiver(
        id=1,
        sequence="assistant",
        version=version,
        rule=name,
        reason="known and accepted",
        requested_by="ann",
        approved_by="bob",
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


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
