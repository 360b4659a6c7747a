from dataclasses import replace

import pytest

from flows.commands.check import few_steps, spoilt_lines
from flows.survey import cells_to_score, gate_oddities, rows_for_guards
from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    GateConfig,
    Read,
    SequenceConfig,
    TaskConfig,
)
from lori_core.prompts import Example
from lori_core.task_rows import TaskRows

SOURCE = DataSource(path="/rows.jsonl")
CONFIG = SequenceConfig(
    sequence="s",
    base=BaseConfig(path="/base"),
    adapter=AdapterConfig(read="inherited"),
    tasks=tuple(TaskConfig(name=name, train=SOURCE, test=SOURCE) for name in "abc"),
)


def test_a_proved_read_scores_few_cells_and_a_cumulative_one_scores_each_version_anew() -> None:
    assert cells_to_score(CONFIG, "causal") == {
        "a": 1 + 1 + 2,  # base; its own, which no later task changes; cumulative at 2 and 3
        "b": 1 + 1 + 1 + 1,  # base; what it inherits at 1; its own; cumulative at 3
        "c": 1 + 1 + 1,
    }
    separate = replace(
        CONFIG, adapter=replace(CONFIG.adapter, protection="separate", read="isolated")
    )
    assert cells_to_score(separate, "causal") == {"a": 2, "b": 2, "c": 2}


def test_an_encoder_has_no_cells_before_its_task() -> None:
    assert cells_to_score(CONFIG, "encoder") == {"a": 3, "b": 2, "c": 1}


def test_guards_are_scored_under_every_other_task() -> None:
    guarded = replace(CONFIG, guards=("a",))
    assert cells_to_score(guarded, "causal")["a"] == cells_to_score(CONFIG, "causal")["a"]
    isolated = replace(guarded, adapter=replace(CONFIG.adapter, read="isolated"))
    plain = replace(isolated, guards=())
    more = cells_to_score(isolated, "causal")["a"] - cells_to_score(plain, "causal")["a"]
    assert more == 2  # under b's own adapter, and under c's


@pytest.mark.parametrize(("drop", "rows"), [(0.03, 99), (0.1, 29), (0.5, 5)])
def test_the_rows_a_guard_needs_follow_the_rule_of_three(drop: float, rows: int) -> None:
    config = replace(CONFIG, guards=("a",), gate=GateConfig(max_guard_drop=drop))
    assert rows_for_guards(config) == rows
    assert rows == pytest.approx(3 / drop, rel=0.2)
    assert rows_for_guards(CONFIG) is None


def test_the_gate_is_looked_at_with_the_rows_that_a_cell_uses() -> None:
    example = Example(id="1", prefix="p", input="", suffix="", completion="c")
    rows = {name: TaskRows(train=(example,), test=(example,) * 120) for name in "abc"}
    guarded = replace(CONFIG, guards=("a",))
    assert [each.rule for each in gate_oddities(guarded, rows)] == []
    (found,) = gate_oddities(replace(guarded, eval_rows=50), rows)
    assert (found.rule, found.problem, found.needed) == ("guard", "never passes", {"a": 99})
    assert [each.rule for each in gate_oddities(CONFIG, rows)] == ["guard"]


def test_rows_that_are_cut_or_dropped_are_told_beside_the_audit() -> None:
    assert list(spoilt_lines(0, 0, 800)) == []
    assert list(spoilt_lines(798, 1, 800)) == [
        "  warning: 798 of 800 training rows are cut to fit in max_length",
        "  warning: 1 of 800 training rows do not fit in max_length and are dropped",
    ]


@pytest.mark.parametrize(
    ("steps", "position", "learned", "read", "few"),
    [
        (57, 2, 0, "inherited", True),
        (57, 2, 1, "cumulative", True),
        (57, 1, 0, "inherited", False),  # it starts from nothing
        (57, 2, 2, "inherited", False),  # nothing can be changed about it
        (57, 2, 0, "isolated", False),
        (100, 2, 0, "inherited", False),
    ],
)
def test_few_steps_are_told_of_a_task_that_is_to_learn_past_others(
    steps: int, position: int, learned: int, read: Read, few: bool
) -> None:
    assert few_steps(steps, position, learned=learned, read=read) == few
