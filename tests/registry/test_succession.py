"""What users of a task fall back to where a version lacks it."""

import pytest

from registry.succession import fallback

POSITIONS = {"sql": 1, "maths": 2, "sql-2": 3, "sql-3": 4, "alone": 5}
PREDECESSORS = {"sql-2": "sql", "sql-3": "sql-2"}


@pytest.mark.parametrize(
    ("task", "version", "found"),
    [
        ("sql-3", 3, "sql-2"),
        ("sql-3", 2, "sql"),  # through the one that is lacking too
        ("sql-2", 1, "sql"),
        ("alone", 4, None),
        ("sql-3", 0, None),
    ],
)
def test_it_is_the_newest_one_superseded_that_the_version_has(
    task: str, version: int, found: str | None
) -> None:
    assert fallback(PREDECESSORS, POSITIONS, task, version) == found


def test_tasks_that_supersede_each_other_end_the_search() -> None:
    """No file can say so; rows of a store might."""
    assert fallback({"a": "b", "b": "a"}, {"a": 2, "b": 3}, "a", 1) is None
