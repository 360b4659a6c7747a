"""What may not change once it was learned, found and named."""

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple

from lori_core.errors import RowsChanged, SequenceChanged
from registry.models import Sequence, Task
from registry.records import Json, SequenceRecord, TaskRecord

MEASURED = frozenset({"test", "over_refusal"})
"""Rows that a version of a task is compared on with the one it supersedes."""

_ABSENT = object()


class Change(NamedTuple):
    """One value that differs."""

    part: str
    """Path of the key, with dots."""
    was: str
    now: str


def changes(was: Json, now: Json, path: str = "") -> Iterator[Change]:
    """Every value of two JSON mappings that differs, in the order of their keys.

    Tuples and lists are equal when their items are, and 1 equals 1.0: what JSON cannot tell apart
    is no change.
    """
    for key in sorted(set(was) | set(now)):
        yield from _differences(was.get(key, _ABSENT), now.get(key, _ABSENT), f"{path}{key}")


def refuse_changed_sequence(row: Sequence, record: SequenceRecord, learned: int) -> None:
    """Raise SequenceChanged if base, adapter settings or the first `learned` tasks differ."""
    if row.base_digest != record.base_digest:
        found = f"{record.base_path} ({record.base_digest[:16]})"
        raise SequenceChanged(
            record.name, "base", f"{row.base_path} ({row.base_digest[:16]})", found
        )
    for change in changes(row.base, record.base, "base."):
        raise SequenceChanged(record.name, *change)
    for change in changes(row.adapter, record.adapter, "adapter."):
        raise SequenceChanged(record.name, *change)
    names = [task.name for task in row.tasks[:learned]]
    pairs = zip_longest(names, record.tasks[:learned], fillvalue="missing")
    for position, (was, now) in enumerate(pairs, start=1):
        if was != now:
            raise SequenceChanged(record.name, f"task {position}", was, now)


def refuse_changed_task(sequence: str, row: Task, record: TaskRecord) -> None:
    """Raise SequenceChanged if a learned task's name, data or settings differ."""
    if row.name != record.name:
        raise SequenceChanged(sequence, f"task {row.position}", row.name, record.name)
    roles = sorted(set(row.data) | set(record.data))
    changed = [role for role in roles if row.data.get(role) != record.data.get(role)]
    metric = row.config.get("metric") == record.config.get("metric")
    for role in changed:
        was, now = _digest(row.data.get(role)), _digest(record.data.get(role))
        comparable = metric and not MEASURED.intersection(changed)
        raise RowsChanged(sequence, row.name, role, was, now, comparable)
    for change in changes(row.config, record.config, f"task {row.name!r}, "):
        raise _setting_changed(sequence, row.name, change)


def _setting_changed(sequence: str, task: str, change: Change) -> SequenceChanged:
    """A metric is not only to be put back: the rows may be asked under another one by a new task."""
    told = SequenceChanged(sequence, *change)
    if change.part == f"task {task!r}, metric":
        told.remedy = "Put it back, or append a new task under a name of its own."
    return told


def _differences(was: object, now: object, path: str) -> Iterator[Change]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        yield from changes(was, now, f"{path}.")
    elif _plain(was) != _plain(now):
        yield Change(path, _shown(was), _shown(now))


def _digest(value: object) -> str | None:
    return None if value is None else str(value)


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _shown(value: object) -> str:
    return "not set" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
