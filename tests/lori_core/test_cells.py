"""Which cells are scored when, under what, and which are the same cell."""

from collections import Counter
from dataclasses import replace

import pytest

from lori_core.cells import CellKey, Served, cell_digest, needed_cells, read_modes, served_in
from lori_core.config import AdapterConfig, Read, TrainingConfig
from lori_core.errors import BadInput
from tests.lori_core.evaluation_cases import a_task

TASKS = ("safety", "math", "code", "sql")
BOTH: tuple[Read, ...] = ("inherited", "cumulative")


def places(cells: list[CellKey], read: Read) -> set[tuple[int, str]]:
    return {(c.row_version, c.task) for c in cells if c.read == read and c.adapter_of is None}


def test_the_default_is_the_diagonal_what_lies_below_the_base_and_the_cell_above() -> None:
    cells = needed_cells(TASKS, 3, BOTH)
    for read in BOTH:
        assert places(cells, read) == {
            *((0, task) for task in TASKS[:3]),
            (2, "code"),
            *((3, task) for task in TASKS[:3]),
        }
    assert places(needed_cells(TASKS, 1, BOTH), "inherited") == {(0, "safety"), (1, "safety")}


def test_all_versions_together_are_what_r_needs() -> None:
    every = set().union(*(needed_cells(TASKS, k, BOTH) for k in range(1, 5)))
    below = {(k, TASKS[i - 1]) for k in range(1, 5) for i in range(1, k + 1)}
    above = {(k - 1, TASKS[k - 1]) for k in range(2, 5)}
    base = {(0, task) for task in TASKS}
    assert places(list(every), "cumulative") == below | above | base


def test_full_adds_the_tasks_still_to_come() -> None:
    every = set().union(*(needed_cells(TASKS, k, BOTH, evaluate="full") for k in range(1, 5)))
    assert places(list(every), "inherited") == {(k, task) for k in range(5) for task in TASKS}


def test_no_cell_is_asked_for_twice() -> None:
    for evaluate in ("default", "full"):
        for k in range(1, 5):
            cells = needed_cells(TASKS, k, BOTH, evaluate=evaluate, guards=("safety", "sql"))
            assert max(Counter(cells).values()) == 1


def test_guards_are_scored_under_every_other_served_adapter_in_the_trained_mode() -> None:
    cells = needed_cells(TASKS, 3, BOTH, guards=("safety",))
    guards = [c for c in cells if c.adapter_of]
    assert [(c.row_version, c.task, c.read, c.adapter_of) for c in guards] == [
        (3, "safety", "inherited", "math"),
        (3, "safety", "inherited", "code"),
    ]


def test_a_guard_not_yet_learned_is_watched_already_and_has_its_base_cell() -> None:
    cells = needed_cells(TASKS, 2, BOTH, guards=("sql",))
    assert [c.adapter_of for c in cells if c.adapter_of] == ["safety", "math"]
    assert (0, "sql") in places(cells, "inherited")
    assert (2, "sql") not in places(cells, "inherited")


def test_an_encoder_has_no_cell_of_a_task_without_a_head() -> None:
    for evaluate in ("default", "full"):
        cells = needed_cells(
            TASKS, 2, BOTH, evaluate=evaluate, guards=("safety", "sql"), family="encoder"
        )
        assert places(cells, "inherited") == {(2, "safety"), (2, "math")}
        assert [(c.task, c.adapter_of) for c in cells if c.adapter_of] == [("safety", "math")]


def cell(k: int, task: str, read: Read, adapter_of: str | None = None) -> CellKey:
    return CellKey(row_version=k, task=task, read=read, adapter_of=adapter_of)


@pytest.mark.parametrize("read", ["isolated", "inherited", "cumulative"])
def test_a_learned_task_is_scored_as_it_serves(read: Read) -> None:
    assert served_in(cell(3, "math", read), TASKS) == Served(2, 3, read)
    assert served_in(cell(3, "code", read), TASKS) == Served(3, 3, read)
    assert served_in(cell(0, "code", read), TASKS) is None
    assert served_in(cell(3, "safety", read, "code"), TASKS) == Served(3, 3, read)


def test_a_task_to_come_is_scored_under_what_it_would_begin_from() -> None:
    assert served_in(cell(2, "code", "isolated"), TASKS) is None
    assert served_in(cell(2, "code", "inherited"), TASKS) == Served(3, 2, "inherited")
    assert served_in(cell(2, "code", "cumulative"), TASKS) == Served(3, 2, "cumulative")


def test_the_trained_mode_comes_first_and_cumulative_always_but_for_separate_adapters() -> None:
    assert read_modes(AdapterConfig()) == ("inherited", "cumulative")
    assert read_modes(AdapterConfig(read="isolated")) == ("isolated", "cumulative")
    assert read_modes(AdapterConfig(protection="overlap", read="cumulative")) == ("cumulative",)
    assert read_modes(AdapterConfig(protection="separate", read="isolated")) == ("isolated",)


def test_tasks_and_versions_that_are_none_are_refused() -> None:
    for version in (0, 5):
        with pytest.raises(BadInput, match="from 1 to 4"):
            needed_cells(TASKS, version, BOTH)
    with pytest.raises(BadInput, match="task 'poems'"):
        needed_cells(TASKS, 1, BOTH, guards=("poems",))
    with pytest.raises(BadInput, match="task 'poems'"):
        served_in(cell(1, "poems", "inherited"), TASKS)
    with pytest.raises(BadInput, match="version 9"):
        served_in(cell(9, "math", "inherited"), TASKS)
    with pytest.raises(BadInput, match="under 'sql' at version 2"):
        served_in(cell(2, "safety", "inherited", "sql"), TASKS)


def digest(**changes: object) -> str:
    given: dict[str, object] = {
        "base": "b",
        "effective": "e",
        "task": a_task("exact_match"),
        "tests": {"train": "t0", "test": "t1"},
        "metric_version": "1",
        "eval_rows": None,
    }
    return cell_digest(**{**given, **changes})  # type: ignore[arg-type]


def test_a_cell_is_known_again_by_what_decides_it_and_by_nothing_else() -> None:
    task = a_task("exact_match")
    assert digest() == digest()
    same: tuple[dict[str, object], ...] = (
        {"task": replace(task, name="another")},
        {"task": replace(task, sparsity=0.5, allow_leak=True)},
        {"task": replace(task, training=TrainingConfig(max_length=64, learning_rate=1.0))},
        {"tests": {"train": "other", "test": "t1"}},
        {"seed": 3},  # nothing is drawn
    )
    for change in same:
        assert digest(**change) == digest(), change
    assert digest(stop=(2, 1)) == digest(stop=(1, 2))
    different: tuple[dict[str, object], ...] = (
        {"base": "other"},
        {"effective": None},
        {"tests": {"test": "t2"}},
        {"tests": {"test": "t1", "over_refusal": "h"}},
        {"metric_version": "2"},
        {"eval_rows": 100},
        {"stop": (1, 2)},
        {"stop": (1,)},
        {"task": a_task("exact_number")},
        {"task": a_task("exact_match", max_new_tokens=9)},
        {"task": a_task("exact_match", max_length=32)},
        {"task": replace(task, prompt="{a}", completion="{b}")},
    )
    found = [digest(**change) for change in different]
    assert len({digest(), *found}) == len(found) + 1


def test_the_seed_counts_where_samples_are_drawn() -> None:
    drawn = a_task("pass_at_k", k=5)
    assert digest(task=drawn, seed=1) != digest(task=drawn, seed=2)
