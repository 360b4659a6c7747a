"""What a sequence file would do, found out without learning: rows, audit, capacity, time, memory."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.checks import audited
from flows.plan import Plan
from flows.stages.bench import Bench, bench
from lori_core.adapters import adapter_shapes, refuse_wide_rank
from lori_core.audit import Audit
from lori_core.base import meta_model
from lori_core.capacity import CapacityPlan, plan_capacity
from lori_core.cells import needed_cells, read_modes, served_in
from lori_core.config import SequenceConfig, task_sparsity
from lori_core.encoding import EncodedRows, encoder_text
from lori_core.estimates import Estimate, Load, estimate, steps_of
from lori_core.evaluation import evaluate_causal, evaluate_encoder
from lori_core.phases import Lesson
from lori_core.probes import PROBES_PER_TASK
from lori_core.task_rows import TaskRows, load_task
from registry.gating.policy import policy_from
from registry.gating.sanity import Oddity, oddities

START_SECONDS = 12.0
"""Of a run: the training child's imports, Prefect's server, MLflow's first import."""

TASK_SECONDS = 2.0
"""Of a task outside training and evaluation: flow, certificate, filing."""

SHOWN = 2
"""Rows shown of each task."""


@dataclass(frozen=True)
class ShownRow:
    """A row as the model reads it and what it learns to answer."""

    id: str

    prompt: str

    completion: str
    """A text, or the name of an encoder's class."""


@dataclass(frozen=True)
class TaskSurvey:
    """One task as it would be learned."""

    name: str

    rows: TaskRows

    audit: Audit

    encoded: EncodedRows

    labels: tuple[str, ...]

    steps: int
    """Of one phase; one epoch of few rows in large batches is few."""

    @property
    def shown(self) -> Sequence[ShownRow]:
        """The first training rows, as the model reads them."""
        return [
            ShownRow(
                row.id,
                f"{encoder_text(row)}\n" if self.labels else row.prompt,
                row.completion,
            )
            for row in self.rows.train[:SHOWN]
        ]


@dataclass(frozen=True)
class Survey:
    """A whole sequence as it would be learned."""

    tasks: tuple[TaskSurvey, ...]

    capacity: CapacityPlan

    estimate: Estimate

    seconds: float
    """Of the whole command, starting and filing included."""

    guard_rows: int | None
    """Test rows a guard needs for the gate, if no answer changes; None without guards."""

    gate: tuple[Oddity, ...]
    """Rules of the gate that can never refuse, or never pass at these rows."""


def survey(plan: Plan, learned: int, tell: Callable[[str], None]) -> Survey:
    """Look at every task; estimate those after the first `learned` ones.

    Raises:
        BadInput: as `run` would; audits are returned with their errors.
    """
    config = plan.config
    work = bench(config, "check")
    shapes = adapter_shapes(meta_model(config.base), config.adapter)
    refuse_wide_rank(shapes, config.adapter.r)
    capacity = plan_capacity(
        shapes, config.adapter, [task_sparsity(config.adapter, task) for task in config.tasks]
    )
    tasks = []
    for task in config.tasks:
        tell(f"reading {task.name}")
        audit = audited(task)[1]
        rows = load_task(task, work.chat)
        labels = work.labels_of(rows)
        encoded = work.encode(task, rows.train, labels)
        steps = steps_of(task.training, len(encoded.rows))
        tasks.append(TaskSurvey(task.name, rows, audit, encoded, labels, steps))
    tell("timing a few steps and answers")
    loads = [_load(config, work, tasks, place) for place in range(learned, len(tasks))]
    found = estimate(work.model, loads, work.ground(), clock=time.perf_counter)
    overhead = START_SECONDS + TASK_SECONDS * len(loads) if loads else 0.0
    return Survey(
        tuple(tasks),
        capacity,
        found,
        found.seconds + overhead,
        rows_for_guards(config),
        gate_oddities(config, {task.name: task.rows for task in tasks}),
    )


def gate_oddities(config: SequenceConfig, rows: Mapping[str, TaskRows]) -> tuple[Oddity, ...]:
    """What is odd about the gate of a sequence whose tasks have these rows."""
    counts = {
        name: tuple(len(part[: config.eval_rows]) for part in (own.test, own.over_refusal) if part)
        for name, own in rows.items()
    }
    return oddities(
        policy_from(config.gate, guards=config.guards, promotion=config.promotion),
        tasks=[task.name for task in config.tasks],
        rows=counts,
        protection=config.adapter.protection,
    )


def rows_for_guards(config: SequenceConfig) -> int | None:
    """The least n at which n equal answers bound a guard's drop by `max_guard_drop`.

    With no answer changed the one-sided bound is 1 - (1 - confidence)^(1/n), 3/n for short.
    """
    if not config.guards:
        return None
    n = 1
    while 1 - (1 - config.gate.confidence) ** (1 / n) > config.gate.max_guard_drop:
        n += 1
    return n


def cells_to_score(config: SequenceConfig, family: Any) -> dict[str, int]:
    """task -> how often its test rows will be scored over the whole sequence, known cells left out."""
    names = tuple(task.name for task in config.tasks)
    seen: set[tuple[str, object]] = set()
    for version in range(1, len(names) + 1):
        for cell in needed_cells(
            names,
            version,
            read_modes(config.adapter),
            evaluate=config.evaluate,
            guards=config.guards,
            family=family,
        ):
            served = served_in(cell, names)
            if served is None:
                seen.add((cell.task, "base"))
            elif served.read == "isolated" or config.adapter.protection == "separate":
                seen.add((cell.task, ("own", served.position)))
            else:
                last = served.position if served.read == "inherited" else served.version
                seen.add((cell.task, ("up to", last)))
    return {name: sum(task == name for task, _ in seen) for name in names}


def _load(config: SequenceConfig, work: Bench, tasks: Sequence[TaskSurvey], place: int) -> Load:
    task, found = config.tasks[place], tasks[place]
    lesson = Lesson(
        task=task.name, rows=found.encoded.rows, training=task.training, labels=found.labels
    )
    tests = len(found.rows.test[: config.eval_rows])
    harmless = len(found.rows.over_refusal[: config.eval_rows])
    cells = cells_to_score(config, work.family)[task.name]
    probes = min(PROBES_PER_TASK, len(found.encoded.rows)) * (len(tasks) - place)

    def answer(rows: int) -> None:
        if work.family == "encoder":
            evaluate_encoder(
                work.model, work.tokenizer, task, found.rows.test[:rows], labels=found.labels
            )
        else:
            evaluate_causal(work.model, work.tokenizer, task, found.rows.test[:rows])

    return Load(lesson, answer, cells * (tests + harmless) + probes)
