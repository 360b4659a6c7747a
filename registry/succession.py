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


def serving(tasks: Sequence[TaskRecord], task: str, version: int) -> str:
    """The task that answers for `task` where `version` serves: its newest version learned by then."""
    position = {each.name: each.position for each in tasks}
    newer = superseded(tasks)
    while task in newer and position[newer[task]] <= version:
        task = newer[task]
    return task
