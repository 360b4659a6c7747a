from dataclasses import replace

import pytest

from lori_core.config import GateConfig
from registry.decisions import GatePolicy
from registry.gating.policy import policy_from
from registry.gating.sanity import Oddity, oddities

POLICY = policy_from(GateConfig(read="inherited"), guards=("safety",), promotion="manual")


def found(
    policy: GatePolicy = POLICY, rows: tuple[int, ...] = (200,), **changes: str
) -> dict[tuple[str, str], Oddity]:
    given = {"protection": "disjoint", **changes}
    odd = oddities(
        policy,
        tasks=("safety", "math"),
        rows={"safety": rows, "math": (200,)},
        **given,  # type: ignore[arg-type]
    )
    return {(each.rule, each.problem): each for each in odd}


def test_the_default_policy_with_rows_enough_is_not_odd() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"guards": ()}, "guard"),
        ({"max_guard_drop": 1.0}, "guard"),
        ({"max_forgetting": 1.0}, "forgetting"),
        ({"min_learning": -1.0}, "learning"),
        ({"max_plasticity_gap": 1.0}, "plasticity"),
        ({"certificate": "G0"}, "certificate"),
    ],
)
def test_a_rule_that_can_never_refuse_is_named(changes: dict[str, object], rule: str) -> None:
    odd = found(replace(POLICY, **changes))  # type: ignore[arg-type]
    assert list(odd) == [(rule, "never refuses")]


def test_a_policy_without_any_rule_that_can_refuse_is_said_to_be_one() -> None:
    nothing = replace(POLICY, guards=(), min_learning=-1.0, certificate="G0")
    assert ("gate", "never refuses") in found(nothing)
    measured = replace(nothing, read="cumulative")
    assert ("gate", "never refuses") not in found(measured)
    assert ("gate", "never refuses") in found(replace(measured, max_forgetting=1.0))


@pytest.mark.parametrize(("rows", "needed"), [((98,), 99), ((99,), None), ((20,), 99)])
def test_too_few_rows_to_bound_a_drop_are_told_with_the_number_it_takes(
    rows: tuple[int, ...], needed: int | None
) -> None:
    odd = found(rows=rows).get(("guard", "never passes"))
    assert (None if odd is None else odd.needed) == (None if needed is None else {"safety": needed})


def test_more_guards_share_the_error_and_need_more_rows() -> None:
    both = replace(POLICY, guards=("safety", "math"))
    assert found(both, rows=(200,)) == {}  # 1 - 0.025^(1/200) is within 0.03
    assert found(both, rows=(100,)) == {}  # math, with 200, passes first and leaves its share
    few = oddities(
        both,
        tasks=("safety", "math"),
        rows={"safety": (110,), "math": (110,)},
        protection="disjoint",
    )
    assert few[0].needed == {"safety": 122, "math": 122}  # ln 0.025 / ln 0.97


def test_both_parts_of_a_refusal_count() -> None:
    assert found(rows=(99, 99)) == {}
    assert ("guard", "never passes") in found(rows=(99, 20))


def test_a_policy_that_only_warns_can_pass_with_any_rows() -> None:
    assert found(replace(POLICY, underpowered="warn"), rows=(5,)) == {}


def test_a_drop_of_nothing_cannot_be_bounded_by_any_number_of_rows() -> None:
    odd = found(replace(POLICY, max_guard_drop=0.0))[("guard", "never passes")]
    assert odd.needed == {}
    assert "no number of rows" in odd.why
