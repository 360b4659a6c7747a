import pickle

import pytest

from lori_core.errors import RowsChanged, SequenceChanged
from registry.changes import changes, refuse_changed_task
from registry.models import Task
from registry.records import TaskRecord


def test_equal_settings_have_no_changes_however_they_are_spelt() -> None:
    was = {"r": 4, "alpha": 8, "targets": ["q", "v"], "training": {"lr": 1e-3}}
    now = {"training": {"lr": 0.001}, "targets": ("q", "v"), "alpha": 8.0, "r": 4}
    assert list(changes(was, now)) == []


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ({"r": 4}, {"r": 8}, ("r", "4", "8")),
        ({"r": 4}, {}, ("r", "4", "not set")),
        ({}, {"r": None}, ("r", "not set", "null")),
        ({"t": {"lr": 1.0, "n": 2}}, {"t": {"lr": 2.0, "n": 2}}, ("t.lr", "1.0", "2.0")),
        ({"t": ["q"]}, {"t": ["q", "v"]}, ("t", '["q"]', '["q", "v"]')),
        ({"t": {"a": 1}}, {"t": "all"}, ("t", '{"a": 1}', '"all"')),
    ],
)
def test_a_change_is_named_by_its_path(
    was: dict[str, object], now: dict[str, object], expected: tuple[str, str, str]
) -> None:
    assert list(changes(was, now)) == [expected]


def test_all_changes_come_in_the_order_of_their_keys() -> None:
    found = changes({"b": 1, "a": 1, "c": 1}, {"c": 2, "a": 2, "b": 1})
    assert [change.part for change in found] == ["a", "c"]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (
            {"train": "a" * 64, "test": "c" * 64},
            "sequence 's': test rows: those of task 'size' are not the ones it was learned with "
            "(digest cccccccc, learned with bbbbbbbb): expected the rows of a learned task to stay "
            "as they are. Restore them, or append a new task under a name of its own.",
        ),
        (
            {"train": "c" * 64, "test": "b" * 64},
            "sequence 's': train rows: those of task 'size' are not the ones it was learned with "
            "(digest cccccccc, learned with aaaaaaaa): expected the rows of a learned task to stay "
            "as they are. Restore them, or append a new task that says `supersedes: size`.",
        ),
        ({"train": "a" * 64}, "sequence 's': test rows: task 'size' has none now: expected "),
        (
            {"train": "a" * 64, "test": "b" * 64, "validation": "d" * 64},
            "sequence 's': validation rows: task 'size' was learned without any: expected ",
        ),
    ],
)
def test_changed_rows_are_told_by_task_and_role_with_what_to_do(
    now: dict[str, str], said: str
) -> None:
    row = Task(position=1, name="size", config={}, data={"train": "a" * 64, "test": "b" * 64})
    record = TaskRecord(position=1, name="size", config={}, data=now)
    with pytest.raises(RowsChanged) as told:
        refuse_changed_task("s", row, record)
    assert str(told.value).startswith(said)


def test_what_is_measured_otherwise_supersedes_nothing() -> None:
    """Of a version with other test rows or another metric the file would be refused."""
    row = Task(
        position=1, name="size", config={"metric": "accuracy", "k": 1}, data={"train": "a" * 64}
    )

    def refused(config: dict[str, object], data: dict[str, str]) -> SequenceChanged:
        with pytest.raises(SequenceChanged) as told:
            refuse_changed_task(
                "s", row, TaskRecord(position=1, name="size", config=config, data=data)
            )
        return told.value

    both = refused({"metric": "exact_match", "k": 1}, {"train": "c" * 64})
    assert str(both).endswith("or append a new task under a name of its own.")
    assert str(pickle.loads(pickle.dumps(both))) == str(both)
    metric = refused({"metric": "exact_match", "k": 1}, {"train": "a" * 64})
    assert str(metric).endswith("Put it back, or append a new task under a name of its own.")
    other = refused({"metric": "accuracy", "k": 2}, {"train": "a" * 64})
    assert "supersedes" not in str(other)
    assert "append a new task" not in str(other)
