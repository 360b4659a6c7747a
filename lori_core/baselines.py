"""What LoRI is shown beside: plain LoRA in sequence, one plain LoRA per task, a head alone.

Same trainer, same rows in the same order, same seeds; `training.learning_rate` is theirs. The model
must have been attached with `method: lora`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn

from lori_core.adapters import read_a, read_b, write_a, write_b
from lori_core.digests import sha256_json
from lori_core.heads import freeze_head, head_parameters, head_state, load_head
from lori_core.order import derive_seed
from lori_core.phase import PhaseLog, Watch
from lori_core.phases import (
    Ground,
    Lesson,
    new_head,
    run_lora,
    settings_of,
    write_seeded_a,
)
from lori_core.training import ParameterGroup, train_parameters


@dataclass(frozen=True)
class LoraState:
    """A plain LoRA at one moment, and the head it goes with."""

    a: Mapping[str, Float[Tensor, "_r _in"]]
    """layer name -> A."""

    b: Mapping[str, Float[Tensor, "_out _r"]]
    """layer name -> B."""

    head: Mapping[str, Tensor] | None
    """An encoder's head; None for a causal model."""


def show(model: PeftModel, state: LoraState) -> None:
    """Put a LoRA (and its head) into the model, to be evaluated."""
    write_a(model, state.a)
    write_b(model, state.b)
    if state.head is not None:
        load_head(model, state.head)


class SequentialLora:
    """One plain LoRA, A and B trained on the tasks one after the other: nothing is protected."""

    def __init__(self, model: PeftModel, ground: Ground) -> None:
        """Begin with a seeded A and B = 0. The model stays the caller's between two tasks."""
        self._model, self._ground = model, ground
        self._state = _fresh(model, ground, seed=ground.adapter.seed)
        self._heads: dict[str, Mapping[str, Tensor] | None] = {}

    def learn(self, lesson: Lesson, *, output: Path, watch: Watch | None = None) -> PhaseLog:
        """Go on from where the last task ended; an encoder gets a fresh head. Resumes by itself."""
        show(self._model, self._state)
        log, self._state = _train(self._model, lesson, self._ground, output, watch)
        self._heads[lesson.task] = self._state.head
        return log

    def state(self, task: str) -> LoraState:
        """A and B as they stand now, with the head of `task`, which must have been learned."""
        return LoraState(self._state.a, self._state.b, self._heads[task])


def one_lora_per_task(
    model: PeftModel,
    lessons: Sequence[Lesson],
    ground: Ground,
    *,
    output: Path,
    watch: Watch | None = None,
) -> dict[str, LoraState]:
    """A plain LoRA of its own for each task: nothing is shared, nothing can be forgotten.

    Args:
        model: the base with a LoRA attached (`method: lora`).
        lessons: the tasks, in any order.
        ground: the sequence; each A is drawn from a seed derived for its task.
        output: folder for checkpoints, one beneath it for each task.
        watch: told and asked between steps.
    """
    states: dict[str, LoraState] = {}
    for lesson in lessons:
        show(model, _fresh(model, ground, seed=derive_seed(ground.adapter.seed, "A", lesson.task)))
        _, states[lesson.task] = _train(model, lesson, ground, output / lesson.task, watch)
    return states


def head_only(
    model: nn.Module,
    lessons: Sequence[Lesson],
    ground: Ground,
    *,
    output: Path,
    watch: Watch | None = None,
) -> dict[str, dict[str, Tensor]]:
    """The frozen base of an encoder with a trained head for each task, and no adapter.

    Args:
        model: a bare encoder, or one with an adapter, whose B is put to zero.
        lessons: the tasks.
        ground: the sequence.
        output: folder for checkpoints, one beneath it for each task.
        watch: told and asked between steps.

    Returns:
        task -> its head, for `heads.load_head`.
    """
    if ground.family != "encoder":
        raise ValueError("a causal model has no head to train alone")
    if isinstance(model, PeftModel):
        write_b(model, {name: torch.zeros_like(b) for name, b in read_b(model).items()})
    heads: dict[str, dict[str, Tensor]] = {}
    for lesson in lessons:
        new_head(model, lesson, ground)
        adapter = [p for n, p in model.named_parameters() if "lora_" in n and p.requires_grad]
        for parameter in adapter:
            parameter.requires_grad_(False)
        settings = settings_of(lesson, ground, "train")
        try:
            train_parameters(
                model,
                [ParameterGroup(head_parameters(model), settings.learning_rate_head)],
                lesson.rows,
                settings=settings,
                output=output / lesson.task,
                watch=watch,
                context=sha256_json({"base": ground.base_digest, "kind": "head"}),
            )
        finally:
            freeze_head(model)
            for parameter in adapter:
                parameter.requires_grad_(True)
        heads[lesson.task] = head_state(model)
    return heads


def _fresh(model: PeftModel, ground: Ground, *, seed: int) -> LoraState:
    write_seeded_a(model, ground, seed=seed)
    zero = {name: torch.zeros_like(b) for name, b in read_b(model).items()}
    return LoraState(read_a(model), zero, None)


def _train(
    model: PeftModel, lesson: Lesson, ground: Ground, output: Path, watch: Watch | None
) -> tuple[PhaseLog, LoraState]:
    """Train A, B and a fresh head from where the model stands."""
    log = run_lora(model, lesson, ground, output=output, watch=watch)
    head = head_state(model) if ground.family == "encoder" else None
    return log, LoraState(read_a(model), read_b(model), head)
