from dataclasses import replace

import pytest
from gate_cases import Lab
from registry_examples import sequence_record

from lori_core.config import GateConfig
from lori_core.errors import BadInput
from registry.decisions import GatePolicy
from registry.gating import policy_of
from registry.gating.policy import policy_from, policy_of_record, reach


def test_the_policy_is_what_the_sequence_was_recorded_with(lab: Lab) -> None:
    lab.declare(max_guard_drop=0.1, underpowered="warn", confidence=0.9)
    assert policy_of(lab.registry, "assistant") == GatePolicy(
        certificate="G2",
        max_guard_drop=0.1,
        max_forgetting=0.02,
        min_learning=0.0,
        max_plasticity_gap=None,
        confidence=0.9,
        read="inherited",
        underpowered="warn",
        guards=("safety",),
    )


def test_a_sequence_recorded_before_there_were_gates_takes_the_defaults() -> None:
    record = replace(sequence_record(), settings={"guards": ["safety"]})
    gate = GateConfig(read="inherited")
    assert policy_of_record(record) == policy_from(gate, guards=("safety",), promotion="manual")
    cumulative = replace(record, adapter={"read": "cumulative"})
    assert policy_of_record(cumulative).read == "cumulative"


def test_a_second_person_is_asked_for_by_the_promotion_setting() -> None:
    record = replace(sequence_record(), settings={"promotion": "approval"})
    assert policy_of_record(record).approval
    assert not policy_of_record(replace(record, settings={"promotion": "auto"})).approval


@pytest.mark.parametrize(
    "gate",
    [
        {"max_guard_drop": float("nan")},
        {"max_guard_drop": "much"},
        {"max_guard_drop": True},
        {"max_guard_drop": None},
        {"min_learning": -2},
        {"confidence": 1.0},
        {"certificate": "G9"},
        {"read": "aloud"},
        {"underpowered": "shrug"},
        {"surprise": 1},
    ],
)
def test_recorded_settings_that_are_no_policy_are_refused_by_name(gate: dict[str, object]) -> None:
    record = replace(sequence_record(), settings={"gate": gate})
    with pytest.raises(BadInput, match=next(iter(gate))):
        policy_of_record(record)


def test_no_gap_is_a_setting() -> None:
    record = replace(sequence_record(), settings={"gate": {"max_plasticity_gap": None}})
    assert policy_of_record(record).max_plasticity_gap is None


@pytest.mark.parametrize(
    ("protection", "read", "level"),
    [
        ("overlap", "cumulative", "G0"),
        ("disjoint", "cumulative", "G1"),
        ("disjoint", "inherited", "G2"),
        ("disjoint", "isolated", "G2"),
        ("separate", "isolated", "G2"),
    ],
)
def test_a_read_mode_reaches_what_the_design_says(protection: str, read: str, level: str) -> None:
    assert reach(protection, read) == level  # type: ignore[arg-type]
