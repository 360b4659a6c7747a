"""Which cells of R a version needs, which adapter each is scored under, and when one is known already.

What R[k, i] means depends on the read mode:

| | i <= k (learned) | i > k (not yet) |
|---|---|---|
| isolated | task i as it serves at version k, its own entries alone | the bare base |
| inherited | task i as it serves at version k, with what was written before it | everything written by version k, which is what task i would inherit |
| cumulative | everything written by version k | everything written by version k |

An encoder's head belongs to its task and goes with it everywhere: a task not yet learned has none,
so its cells do not exist, those of the base row among them.

A guard G[j] is scored under the adapter that serves task j in the trained read mode, at version k.
Torch-free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lori_core.config import AdapterConfig, Read, TaskConfig
from lori_core.digests import sha256_json
from lori_core.errors import BadInput

Family = Literal["causal", "encoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """One cell: whose rows are scored, at which version, in which read mode."""

    row_version: int
    """k, the row of R. 0 is the bare base."""

    task: str
    """Whose test rows are scored."""

    read: Read
    """The read mode."""

    adapter_of: str | None = None
    """For a guard: the task under whose served adapter it is scored. None: a cell of R."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is in the model while a cell is scored: `SharedAdapter.effective(position, version, read)`."""

    position: int
    """Of the task whose adapter it is, from 1."""

    version: int
    """State of the shared adapter."""

    read: Read
    """How much of it is read."""


def read_modes(adapter: AdapterConfig) -> tuple[Read, ...]:
    """The modes a sequence is evaluated in: the one it is trained in first, then cumulative.

    Adapters that are `separate` have nothing to accumulate.
    """
    if adapter.protection == "separate" or adapter.read == "cumulative":
        return (adapter.read,)
    return (adapter.read, "cumulative")


def needed_cells(
    tasks: Sequence[str],
    version: int,
    reads: Sequence[Read],
    *,
    evaluate: Literal["default", "full"] = "default",
    guards: Sequence[str] = (),
    family: Family = "causal",
) -> list[CellKey]:
    """The cells to score when `version` has just been learned, in the order to score them.

    The base on every task learned so far (and on the guards), the row of this version, the cell
    above its diagonal in the row before (forward transfer), and every guard under every adapter
    that serves now. `full` adds the tasks still to come, in the base row and in this one. Over all
    versions together that is everything R needs; most of it is known by then (`cell_digest`).

    Args:
        tasks: names of all tasks, in order.
        version: k, from 1 to the number of tasks.
        reads: read modes; the first is the one the sequence was trained in, and the guards'.
        evaluate: as in the sequence file.
        guards: tasks to score under every other task's adapter.
        family: an encoder has no cells of tasks it has not learned.

    Raises:
        BadInput: a version or a guard that is none of these tasks.
    """
    _check_version(tasks, version)
    for guard in guards:
        _position(tasks, guard)
    learned = list(tasks[:version])
    rows = list(tasks) if evaluate == "full" and family == "causal" else learned
    watched = [task for task in tasks if task in guards]
    if family == "encoder":
        watched = [task for task in watched if task in learned]
    cells: list[CellKey] = []
    for read in reads:
        if family == "causal":
            based = [
                task for task in tasks if task in rows or (read == reads[0] and task in guards)
            ]
            cells += [CellKey(row_version=0, task=task, read=read) for task in based]
            if version > 1:
                cells.append(CellKey(row_version=version - 1, task=tasks[version - 1], read=read))
        cells += [CellKey(row_version=version, task=task, read=read) for task in rows]
    cells += [
        CellKey(row_version=version, task=guard, read=reads[0], adapter_of=served)
        for guard in watched
        for served in learned
        if served != guard
    ]
    return cells


def served_in(key: CellKey, tasks: Sequence[str]) -> Served | None:
    """The adapter a cell is scored under; None for the bare base. An encoder's head is `key.task`'s.

    Raises:
        BadInput: a task or version that is not among these.
    """
    position = _position(tasks, key.adapter_of or key.task)
    k = key.row_version
    if k == 0:
        return None
    _check_version(tasks, k)
    if key.adapter_of is not None and position > k:
        raise BadInput(f"guard {key.task!r} under {key.adapter_of!r} at version {k}", "one learned")
    if position > k and key.read == "isolated":
        return None
    return Served(position, k, key.read)


def cell_digest(
    *,
    base: str,
    effective: str | None,
    task: TaskConfig,
    tests: Mapping[str, str],
    metric_version: str,
    eval_rows: int | None,
    seed: int = 0,
    stop: Sequence[int] = (),
) -> str:
    """The digest of everything that decides a cell: equal digests, equal cells, none run twice.

    Args:
        base: digest of the base.
        effective: digest of the effective adapter with its head; None for the bare base.
        task: its metric, prompt and lengths count; its training does not.
        tests: role -> digest of the rows that are scored (`test`, and `over_refusal`).
        metric_version: the metric's.
        eval_rows: how many rows of each kind are scored.
        seed: of samples; it counts where there are any.
        stop: tokens that end an answer (`generation.stop_ids`); none where nothing is written.
    """
    return sha256_json(
        {
            "base": base,
            "effective": effective,
            "tests": {role: tests[role] for role in ("test", "over_refusal") if role in tests},
            "metric": task.metric,
            "metric_version": metric_version,
            "prompt": task.prompt,
            "completion": task.completion,
            "max_new_tokens": task.max_new_tokens,
            "max_length": task.training.max_length,
            "samples": [task.k, seed] if task.metric == "pass_at_k" and task.k > 1 else None,
            "eval_rows": eval_rows,
            "stop": sorted(stop),
        }
    )


def _position(tasks: Sequence[str], task: str) -> int:
    if task not in tasks:
        raise BadInput(f"task {task!r}", f"one of {', '.join(tasks)}")
    return list(tasks).index(task) + 1


def _check_version(tasks: Sequence[str], version: int) -> None:
    if not 1 <= version <= len(tasks):
        raise BadInput(f"version {version}", f"from 1 to {len(tasks)}")
