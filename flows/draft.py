"""A commented sequence file from a few answers."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from lori_core.errors import BadInput
from lori_core.names import check_name


@dataclass(frozen=True, slots=True)
class DraftTask:
    """What a task needs at the least."""

    name: str

    train: str

    test: str

    metric: str


def parse_task(text: str) -> DraftTask:
    """Read `NAME:TRAIN:TEST[:METRIC]`; the metric may itself hold a colon.

    Raises:
        BadInput: a part is missing or the name is no name.
    """
    parts = text.split(":", 3)
    if len(parts) < 3 or not all(parts):
        raise BadInput(
            f"--task {text}", "NAME:TRAIN:TEST or NAME:TRAIN:TEST:METRIC", "Paths without colons."
        )
    name, train, test, *metric = parts
    return DraftTask(check_name("task", name), train, test, metric[0] if metric else "exact_match")


def draft(sequence: str, base: str, tasks: list[DraftTask]) -> str:
    """The text of a sequence file, each line saying what it is for."""
    check_name("sequence", sequence)
    lines = [
        "# A sequence of tasks, learned in order. Every key: docs/reference.md. Then:",
        "#   lori check THIS_FILE   what would be learned, and what it would take",
        "#   lori run THIS_FILE     learn what is new; run it again after appending tasks",
        f"sequence: {_scalar(sequence)}",
        f"base: {_scalar(base)}          # a folder, or the id of a model on the hub",
        "adapter:",
        "  r: 32                  # rank",
        "  lora_alpha: 64         # scale: lora_alpha / r",
        "  protection: disjoint   # no task writes what an earlier one owns",
        "  read: inherited        # a task also uses what was learned before it",
        f"  tasks_planned: {max(10, len(tasks))}      # room for so many tasks",
        "training:                # any of these may be set for one task, too",
        "  num_train_epochs: 1",
        "  train_batch_size: 32",
        "  learning_rate_dense: 5.0e-5",
        "  learning_rate: 5.0e-4",
        "  max_length: 512",
        "tasks:                   # in the order they are learned; append, never reorder",
    ]
    for task in tasks:
        lines += [
            f"  - name: {_scalar(task.name)}",
            f"    train: {{path: {_scalar(task.train)}}}",
            f"    test: {{path: {_scalar(task.test)}}}",
            f"    metric: {_scalar(task.metric)}",
        ]
        if task.metric == "refusal":
            lines.append("    over_refusal: none   # or rows that must be answered: {path: ...}")
        if task.metric == "pass_at_k":
            lines.append("    allow_code_execution: false   # true lets it run generated code")
    guards = [_scalar(task.name) for task in tasks if task.metric == "refusal"]
    lines.append(f"guards: [{', '.join(guards)}]   # scored under every other task's adapter, too")
    lines.append("promotion: manual        # a version is filed; a person promotes it")
    return "\n".join([*lines, ""])


def beside(path: str, file: Path) -> str:
    """A path as the sequence file must say it, where the user named a file from the current folder."""
    if Path(path).is_absolute() or not Path(path).exists():
        return path
    return os.path.relpath(path, file.absolute().parent)


def write_draft(path: Path, text: str) -> None:
    """Write the file where there is none yet.

    Raises:
        BadInput: there is one.
    """
    if path.exists():
        raise BadInput(f"{path} exists", "a new file", "Name another, or edit it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _scalar(text: str) -> str:
    """A YAML scalar that is read back as this very text."""
    dumped: str = yaml.safe_dump(text, default_flow_style=True, width=10_000)
    return dumped.removesuffix("\n...\n").strip()
