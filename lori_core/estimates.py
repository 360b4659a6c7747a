"""How long a run will take and how much memory it needs, told before it starts.

Time is measured on a few real steps and a few real answers, on this machine, and multiplied.
Memory is a formula. Both aim at a factor of two.
"""

import itertools
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from peft import PeftModel

from lori_core.adapters import read_a, read_b, write_a, write_b
from lori_core.attention import trains_fused
from lori_core.config import TrainingConfig
from lori_core.encoding import IGNORED
from lori_core.heads import freeze_head, head_state, load_head
from lori_core.order import row_order
from lori_core.packed import PackedB
from lori_core.phase import Watch
from lori_core.phases import Ground, Lesson, lora_parameters, new_head, settings_of, trained_head
from lori_core.training import ParameterGroup, train_packed, train_parameters

Clock = Callable[[], float]
"""Seconds from any beginning, never going back; the caller's, because nothing here reads a clock."""

_LIBRARIES = 600_000_000  # resident bytes of Python with torch, transformers and peft loaded


@dataclass(frozen=True, slots=True)
class Load:
    """What a run has to do for one task."""

    lesson: Lesson
    """Its training rows and settings."""

    answer: Callable[[int], None]
    """Evaluates the first n test rows of the task, as the run will."""

    evaluated: int
    """Test rows of this task over the whole run: those of every cell, and its probes."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """What training one task costs in time."""

    phase: float
    """Seconds a phase takes to begin and end."""

    step: float
    """Seconds of one optimiser step."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take."""

    seconds: float
    """Wall time of training and evaluation."""

    bytes: int
    """Most memory resident at once."""

    training: Mapping[str, float]
    """task -> seconds of its phases."""

    evaluation: Mapping[str, float]
    """task -> seconds of its test rows, over the whole run."""


def estimate(
    model: PeftModel,
    loads: Sequence[Load],
    ground: Ground,
    *,
    clock: Clock,
    steps: int = 4,
    answers: int = 8,
) -> Estimate:
    """Train and evaluate a little of every task, put the model back, and multiply.

    Args:
        model: the base with its adapter attached.
        loads: one for each task that is still to be learned.
        ground: the sequence.
        clock: the caller's.
        steps: optimiser steps measured per task, after one that warms up.
        answers: test rows measured per task, after one that warms up.

    Raises BadInput as training does.
    """
    training, evaluation = {}, {}
    for load in loads:
        lesson = load.lesson
        cost = measure_steps(model, lesson, ground, clock=clock, steps=steps)
        phases = 1 if ground.adapter.method == "lora" else 2
        training[lesson.task] = phases * (
            cost.phase + cost.step * steps_of(lesson.training, len(lesson.rows))
        )
        row = measure_answers(load.answer, clock=clock, rows=answers)
        evaluation[lesson.task] = row * load.evaluated
    return Estimate(
        seconds=sum(training.values()) + sum(evaluation.values()),
        bytes=max((memory_bytes(model, load.lesson, ground) for load in loads), default=_LIBRARIES),
        training=training,
        evaluation=evaluation,
    )


def steps_of(training: TrainingConfig, rows: int) -> int:
    """Optimiser steps of one phase of a task with so many training rows."""
    seen = max(1, round(training.num_train_epochs * rows))
    return -(-seen // training.train_batch_size)


def measure_steps(
    model: PeftModel, lesson: Lesson, ground: Ground, *, clock: Clock, steps: int = 4
) -> StepTime:
    """Seconds of a step and of a phase's beginning, from the first batches the run will see.

    The model comes back as it was.
    """
    settings = replace(settings_of(lesson, ground, "train"), save_steps=10**9)
    order = row_order(len(lesson.rows), 1.0, settings.seed, phase="train", task=lesson.task)
    rows = [lesson.rows[i] for i in order[: (steps + 1) * settings.train_batch_size]]
    settings = replace(settings, num_train_epochs=1.0)
    a, b = read_a(model), read_b(model)
    head = head_state(model) if ground.family == "encoder" else None
    new_head(model, lesson, ground)
    head_now = trained_head(model, ground)
    times: list[float] = []
    watch = Watch(on_progress=lambda _: times.append(clock()))
    begin = clock()
    with tempfile.TemporaryDirectory() as folder:
        if ground.adapter.method == "lora":
            groups = [
                ParameterGroup(lora_parameters(model), settings.learning_rate),
                ParameterGroup(head_now, settings.learning_rate_head),
            ]
            train_parameters(
                model, groups, rows, settings=settings, output=Path(folder), watch=watch
            )
        else:
            packed = PackedB(model)
            train_packed(
                model,
                packed,
                head_now,
                rows,
                settings=settings,
                output=Path(folder),
                watch=watch,
            )
            packed.remove()
    end = clock()
    write_a(model, a)
    write_b(model, b)
    if head is not None:
        load_head(model, head)
        freeze_head(model)
    lengths = [after - before for before, after in itertools.pairwise(times)]
    step = statistics.median(lengths) if lengths else times[0] - begin
    return StepTime(phase=max(0.0, end - begin - step * len(times)), step=step)


def measure_answers(answer: Callable[[int], None], *, clock: Clock, rows: int = 8) -> float:
    """Seconds per test row, after one row that warms up."""
    answer(1)
    begin = clock()
    answer(rows)
    return (clock() - begin) / rows


def memory_bytes(model: PeftModel, lesson: Lesson, ground: Ground) -> int:
    """Most memory a phase of this task needs: libraries, weights, optimiser, activations, logits.

    Activations per block: tokens · (17 · hidden + 2.5 · heads · length) elements, the second term
    with plain attention alone; logits three times in fp32 (themselves, their softmax, their gradient), at learned
    positions alone.

    Source:
        Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models",
        arXiv:2205.05198, equation 2, in elements instead of bytes.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(b.numel() for b in read_b(model).values())
    optimiser = 16 * trained  # calibration: flat values, gradient and two moments in fp32
    if ground.adapter.method == "lora":
        optimiser = 12 * (trained + sum(a.numel() for a in read_a(model).values()))
    rows = lesson.training.train_batch_size // lesson.training.gradient_accumulation_steps
    length = max((len(row.input_ids) for row in lesson.rows), default=0)
    learned = max((sum(x != IGNORED for x in row.labels) for row in lesson.rows), default=0)
    config = model.config
    plain = not trains_fused(model.get_base_model(), ground.device)
    scores = 2.5 * config.num_attention_heads * length if plain else 0.0
    per_token = 17 * config.hidden_size + scores
    element = next(model.parameters()).element_size()
    activations = element * rows * length * per_token * config.num_hidden_layers
    classes = len(lesson.labels) or config.vocab_size
    return int(_LIBRARIES + weights + optimiser + activations + 12 * rows * learned * classes)
