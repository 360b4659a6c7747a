"""The rules about facts: certificate, integrity, dependency, and cells that are no evidence."""

from dataclasses import replace

import pytest
from gate_cases import Lab, N, right, rule, two_tasks, waiver
from sound_versions import file_sound, sound_record

from lori_core.digests import sha256_json
from lori_core.errors import BadInput
from registry.gating.rules import FAMILIES


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


def test_a_version_without_a_task_that_serves_fails_says_the_way_back_and_may_be_waived(
    lab: Lab,
) -> None:
    two_tasks(lab)
    found = rule(lab.judge(1, 2, served=True), "coverage")
    assert (found.figure, found.limit, found.ok, found.verdict) == (1.0, 0.0, False, "fail")
    assert found.why == (
        "math would fall back to the bare base: assistant/2 serves what assistant/1 does not contain;"
        " the way back to an older version is `lori rollback assistant --to-version 1`"
    )
    assert rule(lab.judge(1, 2, retired=["math"]), "coverage").verdict == "pass"
    assert rule(lab.judge(2, 1), "coverage").verdict == "pass"
    assert rule(lab.judge(1, 0), "coverage").verdict == "undefined"
    assert rule(lab.judge(1, 2, waivers=[waiver("coverage", version=1)]), "coverage").ok


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


def test_every_rule_begins_with_a_family_that_is_known(lab: Lab) -> None:
    two_tasks(lab)
    assert {each.rule.partition(":")[0] for each in lab.judge(2, 1).rules} <= set(FAMILIES)
