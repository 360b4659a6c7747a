"""A task's rows, rendered: from where the sequence file says they are, or from a snapshot of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lori_core.config import DataSource, TaskConfig
from lori_core.errors import BadInput, RowRefused
from lori_core.prompts import Chat, Example, render
from lori_core.rows import Row, read_rows, row_places, rows_digest, snapshot_rows
from lori_core.validation import task_sources

ROLES = ("train", "test", "validation", "over_refusal")
"""What a task's rows are for. The last two may be absent."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """A task's rows by role, in the order of their source."""

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    validation: tuple[Example, ...] = ()
    over_refusal: tuple[Example, ...] = ()


def load_task(task: TaskConfig, chat: Chat | None) -> TaskRows:
    """Read and render every row of a task.

    Args:
        task: its settings.
        chat: the base's chat template; needed by rows of `messages` alone.

    Raises:
        BadInput: as `read_rows` and `render`; opens with the task, names file and line.
    """
    return _rendered(task, dict(task_sources(task)), chat)


def load_snapshot(task: TaskConfig, folder: Path, chat: Chat | None) -> TaskRows:
    """As `load_task`, from the folder that `snapshot_task` wrote.

    A task whose `train` is its `test` was adopted: what it was trained on is not ours, and its test
    rows stand for it wherever the form of a lesson is asked for.
    """
    sources = {
        role: DataSource(path=str(_snapshot(folder, role))) for role, _ in task_sources(task)
    }
    if task.train == task.test:
        rows = _rendered(task, {r: s for r, s in sources.items() if r != "train"}, chat)
        return replace(rows, train=rows.test)
    return _rendered(task, sources, chat)


def load_measured(task: TaskConfig, chat: Chat | None) -> TaskRows:
    """As `load_task`, without the training rows: all there is of a task that is adopted."""
    return _rendered(task, {r: s for r, s in task_sources(task) if r != "train"}, chat)


def snapshot_measured(task: TaskConfig, folder: Path) -> dict[str, str]:
    """As `snapshot_task`, without the training rows."""
    return {
        role: snapshot_rows(_read(task, source), _snapshot(folder, role))
        for role, source in task_sources(task)
        if role != "train"
    }


def snapshot_task(task: TaskConfig, folder: Path) -> dict[str, str]:
    """Copy a task's rows, as plain canonical JSONL, into a folder.

    Returns:
        role -> sha256 of its rows: equal for equal rows, whatever form they came in.
    """
    return {
        role: snapshot_rows(_read(task, source), _snapshot(folder, role))
        for role, source in task_sources(task)
    }


def data_digests(task: TaskConfig) -> dict[str, str]:
    """What `snapshot_task` would return; nothing is written."""
    return {role: rows_digest(_read(task, source)) for role, source in task_sources(task)}


def labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """The label set of a classification task, in the order of its classes.

    It is the rows' own `choices` where they have them, else their completions, sorted.

    Raises:
        BadInput: rows whose choices differ, a choice twice, or fewer than two labels.
    """
    offered = next((example.choices for example in examples if example.choices), None)
    found = offered or tuple(sorted({example.completion for example in examples}))
    for example in examples:
        if offered and example.choices and example.choices != offered:
            raise RowRefused(
                f"row {example.id!r}: choices {', '.join(example.choices)}",
                f"those of the rows before it, {', '.join(offered)}",
                "An encoder has one label set for a task.",
                "train: expected one label set for a task, and `choices` differ",
            )
    if len(set(found)) < len(found):
        raise RowRefused(
            f"label set {', '.join(found)}", "each label once", "Correct the rows' `choices`.",
            "train: expected each label once in `choices`",
        )  # fmt: skip
    if len(found) < 2:
        raise RowRefused(
            f"label set {', '.join(found) or 'of no rows'}", "two or more labels", "Add rows.",
            "train: expected two or more labels",
        )  # fmt: skip
    return found


def label_index(example: Example, known: Sequence[str]) -> int:
    """The class of an example.

    Raises:
        BadInput: its label is outside the set.
    """
    named = example.completion
    if example.choices is not None and example.label is not None:
        named = example.choices[example.label]
    if named not in known:
        raise RowRefused(
            f"row {example.id!r}: label {named!r} is outside the set",
            f"one of {', '.join(known)}",
            "Correct the row.",
            "a row: expected a label of the set",
        )
    return list(known).index(named)


def target_needed(task: TaskConfig, role: str) -> bool:
    """Whether a row of this role must say what the answer is.

    What is learned must; a test row need not where the metric looks at the output alone (`refusal`),
    runs it (`pass_at_k`) or is the user's own.
    """
    compared = task.metric in ("accuracy", "exact_match", "exact_number")
    return role == "train" or (role in ("test", "validation") and compared)


def _rendered(task: TaskConfig, sources: Mapping[str, DataSource], chat: Chat | None) -> TaskRows:
    by_role = {
        role: _render_all(task, role, sources[role], chat) if role in sources else ()
        for role in ROLES
    }
    return TaskRows(**by_role)


def _render_all(
    task: TaskConfig, role: str, source: DataSource, chat: Chat | None
) -> tuple[Example, ...]:
    rows = _read(task, source)
    places = row_places(source, len(rows))
    needed = target_needed(task, role)
    return tuple(
        render(
            row,
            prompt=task.prompt,
            completion=task.completion,
            chat=chat,
            target_needed=needed,
            where=f"task {task.name}: {place}",
        )
        for row, place in zip(rows, places, strict=True)
    )


def _read(task: TaskConfig, source: DataSource) -> list[Row]:
    try:
        return read_rows(source)
    except RowRefused as error:
        raise error.within(f"task {task.name}") from None
    except BadInput as error:
        raise BadInput(f"task {task.name}: {error.what}", error.expected, error.remedy) from None


def _snapshot(folder: Path, role: str) -> Path:
    return folder / f"{role}.jsonl"
