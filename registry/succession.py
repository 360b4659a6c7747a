"""New versions of known tasks: which task serves in whose place.

A task that says `supersedes: sql` is one of its own, learned after it; the old one's entries stay
for those who inherit them. Pure, over the tasks as they were declared.
"""

from collections.abc import Mapping, Sequence

from registry.records import TaskRecord

KEY = "supersedes"
"""Where a task's settings name the one before."""


def superseded(tasks: Sequence[TaskRecord]) -> Mapping[str, str]:
    """Old task -> the new version of it."""
    return {str(task.config[KEY]): task.name for task in tasks if task.config.get(KEY)}


def predecessor(tasks: Sequence[TaskRecord], task: str) -> str | None:
    """The task that `task` is a new version of; None for a task of its own."""
    return next((old for old, new in superseded(tasks).items() if new == task), None)


def fallback(
    predecessors: Mapping[str, str], positions: Mapping[str, int], task: str, version: int
) -> str | None:
    """The newest task that `task` supersedes, by itself or through others, which a version has.

    Args:
        predecessors: task -> the one it is a new version of.
        positions: task -> its position, from 1.
        task: one that the version lacks.
        version: what it has are the tasks up to that position.

    Returns:
        None where it has none: users of `task` would get the bare base.
    """
    place, older = positions[task], predecessors.get(task)
    while older is not None and version < positions[older] < place:
        place, older = positions[older], predecessors.get(older)
    return older if older is not None and positions[older] <= version else None


def serving(tasks: Sequence[TaskRecord], task: str, version: int) -> str:
    """The task that answers for `task` where `version` serves: its newest version learned by then."""
    position = {each.name: each.position for each in tasks}
    newer = superseded(tasks)
    while task in newer and position[newer[task]] <= version:
        task = newer[task]
    return task
