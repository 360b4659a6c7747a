from dataclasses import replace

import pytest
from registry_examples import cell, task_record

from registry.records import MatrixCells
from registry.store import Registry


def values(matrix: MatrixCells) -> list[list[float | None]]:
    return [[None if found is None else found.value for found in row.cells] for row in matrix.rows]


def test_the_matrix_of_a_new_sequence_is_one_empty_base_row(registry: Registry) -> None:
    matrix = registry.matrix_cells("assistant", "inherited")
    assert matrix.tasks == ("safety", "math", "code")
    assert values(matrix) == [[None, None, None]]
    assert (matrix.rows[0].version, matrix.rows[0].task) == (0, None)


def test_each_cell_stands_at_its_row_and_column_and_the_rest_is_none(registry: Registry) -> None:
    for version, task, value in [
        (0, "safety", 0.1),
        (0, "math", 0.2),
        (1, "safety", 0.9),
        (1, "math", 0.25),
        (2, "safety", 0.9),
        (2, "math", 0.8),
    ]:
        registry.record_cell(cell(version, task, value))
    matrix = registry.matrix_cells("assistant", "inherited")
    assert values(matrix) == [[0.1, 0.2, None], [0.9, 0.25, None], [0.9, 0.8, None]]
    assert [row.task for row in matrix.rows] == [None, "safety", "math"]


def test_read_modes_do_not_mix_but_the_base_row_serves_all(registry: Registry) -> None:
    registry.record_cell(cell(0, "safety", 0.1))
    registry.record_cell(cell(1, "safety", 0.9))
    registry.record_cell(cell(1, "safety", 0.7, read="cumulative"))
    assert values(registry.matrix_cells("assistant", "cumulative")) == [
        [0.1, None, None],
        [0.7, None, None],
    ]
    registry.record_cell(cell(0, "safety", 0.2, read="cumulative"))
    assert values(registry.matrix_cells("assistant", "cumulative"))[0][0] == 0.2
    assert values(registry.matrix_cells("assistant", "inherited"))[0][0] == 0.1


def test_a_guard_under_another_adapter_is_no_part_of_the_matrix(registry: Registry) -> None:
    registry.record_cell(cell(2, "safety", 0.9))
    registry.record_cell(cell(2, "safety", 0.3, adapter_of="math"))
    assert values(registry.matrix_cells("assistant", "inherited"))[2][0] == 0.9
    guards = [found for found in registry.cells("assistant") if found.adapter_of]
    assert [(found.adapter_of, found.value) for found in guards] == [("math", 0.3)]


def test_a_filed_version_has_a_row_before_any_cell_is_measured(learned: Registry) -> None:
    assert values(learned.matrix_cells("assistant", "inherited")) == [[None] * 3, [None] * 3]


def test_cells_come_by_version_then_in_the_order_of_the_tasks(registry: Registry) -> None:
    for version, task in [(2, "math"), (1, "safety"), (2, "safety"), (0, "code"), (0, "math")]:
        registry.record_cell(cell(version, task))
    found = [(each.version, each.task) for each in registry.cells("assistant")]
    assert found == [(0, "math"), (0, "code"), (1, "safety"), (2, "safety"), (2, "math")]


@pytest.mark.parametrize("read", ["isolated", "inherited", "cumulative"])
def test_sequences_do_not_see_each_other(registry: Registry, read: str) -> None:
    other = replace(registry.sequence("assistant"), name="other", tasks=("safety",))
    registry.declare_sequence(other)
    registry.declare_task("other", task_record(1))
    registry.record_cell(cell(1, "safety", read=read))
    assert registry.cells("other") == ()
    assert registry.sequences() == ("assistant", "other")
