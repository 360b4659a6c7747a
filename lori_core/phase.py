"""One phase of training: its settings, its progress, its log. Nothing here imports torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lori_core.config import TrainingConfig

PhaseName = Literal["calibrate", "train"]
Family = Literal["causal", "encoder"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSettings:
    """How one phase of one task is trained. Everything that decides its result, and no more."""

    task: str
    """Name of the task; part of the key of the row order."""

    phase: PhaseName
    """`calibrate` (LoRI-D) or `train` (LoRI-S); part of the key of the row order."""

    family: Family
    """Whether rows are completions of a causal model or classes of an encoder."""

    seed: int
    """The sequence's seed."""

    learning_rate: float
    """Of the adapter, at the first step; it falls linearly to 0."""

    learning_rate_head: float
    """Of an encoder's head, at the first step; it falls linearly to 0."""

    num_train_epochs: float
    """Passes over the rows."""

    train_batch_size: int
    """Rows of one optimiser step."""

    gradient_accumulation_steps: int
    """Micro-batches a step is split into."""

    max_grad_norm: float
    """Global gradient clip."""

    save_steps: int
    """Steps between checkpoints."""

    pad_id: int
    """Token id that fills rows up to the longest of their batch."""

    device: Device = "cpu"
    """Where the phase runs; the caller chooses."""


def phase_settings(
    training: TrainingConfig,
    *,
    phase: PhaseName,
    task: str,
    family: Family,
    seed: int,
    pad_id: int,
    device: Device = "cpu",
) -> PhaseSettings:
    """The settings of one phase: calibration takes `learning_rate_dense`, training `learning_rate`."""
    return PhaseSettings(
        task=task,
        phase=phase,
        family=family,
        seed=seed,
        learning_rate=(
            training.learning_rate_dense if phase == "calibrate" else training.learning_rate
        ),
        learning_rate_head=training.learning_rate_head,
        num_train_epochs=training.num_train_epochs,
        train_batch_size=training.train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        save_steps=training.save_steps,
        pad_id=pad_id,
        device=device,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a phase stands after one optimiser step. Rates need the caller's clock."""

    task: str
    """Name of the task."""

    phase: PhaseName
    """Name of the phase."""

    step: int
    """Steps done, from 1."""

    total: int
    """Steps of the whole phase."""

    loss: float
    """Mean loss of this step: over its learned tokens, or over its rows for an encoder."""

    grad_norm: float
    """Global gradient norm of this step, before clipping."""

    tokens: int
    """Tokens read since the phase began, padding left out (a resumed phase counts on)."""

    saved: bool
    """A whole checkpoint of this step is on disk."""


@dataclass(frozen=True, slots=True)
class PhaseLog:
    """What a finished phase did, step by step; the same however often it was interrupted."""

    steps: int
    """Optimiser steps."""

    losses: tuple[float, ...]
    """Loss of each step."""

    grad_norms: tuple[float, ...]
    """Global gradient norm of each step, before clipping."""

    tokens: int
    """Tokens read, padding left out."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What the caller is told and asked between two steps.

    To leave cleanly (SIGTERM): let `checkpoint_due` say True, and raise from `on_progress` once it
    is told `saved`. The phase goes on from there when it is called again.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    """Called after every step, after its checkpoint if there was one. May raise."""

    checkpoint_due: Callable[[], bool] = lambda: False
    """Asked at every step; True writes a checkpoint after it, besides those every `save_steps`."""
