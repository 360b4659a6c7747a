"""Where a task's rows lie as they were learned and measured, and what each of them asks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from lori_core.config import DataSource
from lori_core.digests import sha256_file, sha256_json
from lori_core.errors import CheckFailed
from lori_core.prompts import Example, render
from lori_core.rows import read_rows
from registry.records import TaskRecord


def data_key(digests: Mapping[str, str]) -> str:
    """The name of a task's snapshot folder: of its rows' digests."""
    return sha256_json(dict(digests))[:32]


def snapshot_folder(home: Path, task: TaskRecord) -> Path:
    """Where the snapshot of a task's rows lies, if it was kept."""
    return home / "data" / data_key(cast(Mapping[str, str], task.data))


def rows_asked(home: Path, task: TaskRecord, role: str) -> tuple[Example, ...]:
    """The rows of a role, rendered for people: messages as plain text, nothing cut.

    Raises:
        CheckFailed: there are none, the snapshot is gone, or it is not what was recorded.
    """
    if role not in task.data:
        raise CheckFailed("rows", f"task {task.name} has no rows of the kind {role}")
    path = snapshot_folder(home, task) / f"{role}.jsonl"
    if not path.is_file():
        raise CheckFailed("rows", f"the snapshot of them is gone ({path.relative_to(home)})")
    if sha256_file(path) != task.data[role]:
        raise CheckFailed("rows", f"{path.relative_to(home)} is not what was recorded")
    prompt, completion = task.config.get("prompt"), task.config.get("completion")
    return tuple(
        render(
            row,
            prompt=None if prompt is None else str(prompt),
            completion=None if completion is None else str(completion),
            chat=_as_text,
            target_needed=False,
        )
        for row in read_rows(DataSource(path=str(path)))
    )


def _as_text(messages: Sequence[Mapping[str, str]]) -> str:
    return "\n".join(f"{each.get('role', '')}: {each.get('content', '')}" for each in messages)
