"""Rows kept in the home as they were when they were submitted or learned."""

from collections.abc import Mapping
from pathlib import Path

from lori_core.config import TaskConfig
from lori_core.digests import sha256_file
from lori_core.errors import DigestMismatch
from lori_core.task_rows import snapshot_task


def keep_rows(task: TaskConfig, digests: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Have the snapshot of a task's rows in `folder`; they must have these digests.

    Raises:
        DigestMismatch: rows changed since their digests were taken.
    """
    kept = {role: folder / f"{role}.jsonl" for role in digests}
    if all(path.is_file() and sha256_file(path) == digests[role] for role, path in kept.items()):
        return dict(digests)
    for role, digest in snapshot_task(task, folder).items():
        if digest != digests[role]:
            raise DigestMismatch(f"task {task.name}: rows of {role}", digests[role], digest)
    return dict(digests)
