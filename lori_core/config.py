"""The settings of a sequence, as frozen dataclasses.

This is the one list of keys: the reader of sequence files, `docs/reference.md` and the header of
every adapter file are made from it. Names are PEFT's and transformers' own wherever they have one.
Nothing here imports torch, so that a mistake is told in milliseconds.
"""

from dataclasses import dataclass, field
from typing import Literal

Protection = Literal["disjoint", "overlap", "separate"]
Read = Literal["isolated", "inherited", "cumulative"]
Granularity = Literal["model", "module", "projection", "layer", "matrix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """The frozen pretrained model."""

    path: str
    """A folder, or the id of a model on the hub. A relative path is relative to the file."""

    revision: str | None = None
    """Revision on the hub. None takes the hub's default."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision the base is held in. On a CPU leave it at float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Shape, scale, protection and read of a sequence's shared adapter. Fixed once learned."""

    r: int = 32
    """Rank: A is (r, d_in), B is (d_out, r). At least 1."""

    lora_alpha: float = 64.0
    """Scale: the adapter adds (lora_alpha / r) · B A x. Above 0."""

    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Last path component of each linear layer to adapt, or `all-linear` (of the blocks)."""

    protection: Protection = "disjoint"
    """`disjoint`: no task writes another's entries. `overlap`: LoRI as published. `separate`: an adapter each."""

    read: Read = "inherited"
    """What a task sees in training and when it serves (trained and served alike)."""

    method: Literal["lori", "lora"] = "lori"
    """`lora` trains A and B densely; only under `protection: separate`."""

    sparsity: float | None = None
    """Share of all entries of B a task leaves untouched, in [0, 1). None: 1 - 1 / tasks_planned."""

    tasks_planned: int = 10
    """How many tasks should fit. Sets the default sparsity and the floors. At least 1."""

    granularity: Granularity = "model"
    """Which entries compete for a task's budget: those of the whole model, or of each group."""

    when_full: Literal["refuse"] = "refuse"
    """What happens when a task does not fit: `refuse`, with the numbers."""

    seed: int = 0
    """Seed of A, of the order of rows and of new heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How one phase (calibration or training) runs. Any key may be overridden for a task."""

    num_train_epochs: float = 1.0
    """Passes over the training rows, for each of the two phases. From 0.0001 to 10000."""

    train_batch_size: int = 32
    """Rows per optimiser step, over all devices. From 1 to 1048576."""

    gradient_accumulation_steps: int = 1
    """Micro-batches a step is split into. Must divide train_batch_size."""

    learning_rate_dense: float = 5e-5
    """Learning rate of calibration (LoRI-D)."""

    learning_rate: float = 5e-4
    """Learning rate of training (LoRI-S)."""

    learning_rate_head: float = 1e-3
    """Learning rate of an encoder's head, in both phases."""

    max_grad_norm: float = 1.0
    """Global gradient clip. Above 0."""

    max_length: int = 512
    """Tokens of prompt and completion together. At least 8."""

    save_steps: int = 100
    """Optimiser steps between checkpoints. At least 1."""

    checkpoint_minutes: float = 10.0
    """Minutes after which a checkpoint is written whatever the step is. Above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesConfig:
    """What a task needs to be learned: it decides where and how fast, and is no part of its name.

    Several processes give the numbers of one to rounding, and the same bits whenever it is the same
    number of processes.
    """

    gpus: int = 0
    """GPUs its worker must have: tasks wait on the queue `cpu` (0) or `gpu-N`. At least 0."""

    processes: int = 1
    """Training processes that share each batch. With GPUs, one for each. At least 1."""

    max_hours: float | None = None
    """Hours a run of the task may take; then it leaves a checkpoint and stops. None: no limit."""

    evaluate_workers: int = 1
    """Workers that score its cells side by side, its own run included. At least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where rows come from: a file (`path`) or a Hugging Face dataset (`dataset`)."""

    path: str | None = None
    """A .jsonl, .jsonl.gz, .csv or .parquet file. A relative path is relative to the file."""

    dataset: str | None = None
    """Id of a dataset on the hub."""

    name: str | None = None
    """Configuration of the dataset."""

    split: str | None = None
    """Split of the dataset."""

    revision: str | None = None
    """Revision of the dataset."""

    limit: int | None = None
    """Take only the first rows. None takes all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """One task: rows, prompt form, metric."""

    name: str
    """Name of the task, `[a-z0-9][a-z0-9._-]{0,63}`, unique in the sequence."""

    train: DataSource
    """Training rows."""

    test: DataSource
    """Test rows: R is measured on them."""

    validation: DataSource | None = None
    """Rows for choices that should not use the test rows."""

    over_refusal: DataSource | Literal["none"] | None = None
    """Harmless rows a `refusal` task must answer. `none` says aloud that there are none."""

    prompt: str | None = None
    """Template over a row's fields, e.g. "{question}". None takes the row's own form. Special tokens
    are plain text here, as they are in rows: a chat model's are written for rows of `messages`."""

    completion: str | None = None
    """Template of the completion, e.g. "{answer}". Goes with `prompt`."""

    metric: str = "exact_match"
    """accuracy, exact_match, exact_number, refusal, pass_at_k, or your own `package.module:function`."""

    max_new_tokens: int = 64
    """Most tokens generated for an answer. At least 1."""

    k: int = 1
    """Samples per row for `pass_at_k` (1 is greedy). At least 1."""

    sparsity: float | None = None
    """This task's own sparsity. None takes the adapter's."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The sequence's training settings with this task's overrides applied."""

    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    """GPUs, processes, hours and workers of this task."""

    allow_leak: bool = False
    """Accept test rows that occur in train."""

    allow_dropped: bool = False
    """Accept more than 5 % of training rows dropped because their completion does not fit."""

    allow_code_execution: bool = False
    """Let `pass_at_k` run generated code in its sandbox."""

    supersedes: str | None = None
    """An earlier task of which this is the new version: it serves in that one's place once promoted."""

    purpose: str | None = None
    """What the task is for, in a sentence. For people, and for evidence."""

    license: str | None = None
    """Licence of its rows, such as MIT. For evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """What a version must pass to be promoted; judged by `lori gate` on what was recorded."""

    certificate: Literal["G0", "G1", "G2"] = "G2"
    """Least certificate level."""

    max_guard_drop: float = 0.03
    """Most a guard may drop under any served adapter."""

    max_forgetting: float = 0.02
    """Most forgetting where the read mode is measured, not proved."""

    min_learning: float = 0.0
    """Least gain of a task over the base."""

    max_plasticity_gap: float | None = None
    """Most a task may fall short of a single-task reference, where there is one."""

    confidence: float = 0.95
    """Confidence of every one-sided bound, in (0.5, 1)."""

    read: Read = "inherited"
    """Read mode the gate judges."""

    underpowered: Literal["refuse", "warn"] = "refuse"
    """What an answer that too few test rows leave open does: `refuse`, or only `warn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig:
    """A whole sequence file."""

    sequence: str
    """Name of the sequence, `[a-z0-9][a-z0-9._-]{0,63}`."""

    purpose: str | None = None
    """What the adapters are for, in a sentence. For people, and for evidence."""

    license: str | None = None
    """Licence of the base, such as Apache-2.0. For evidence."""

    base: BaseConfig
    """The frozen model: a folder, a hub id, or {path, revision, dtype}."""

    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """The shared adapter."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    """Training settings of every task that does not override them."""

    tasks: tuple[TaskConfig, ...]
    """The tasks, in the order they are learned."""

    guards: tuple[str, ...] = ()
    """Tasks evaluated under the adapter served for every other task."""

    evaluate: Literal["default", "full"] = "default"
    """`full` adds the whole upper triangle of R."""

    eval_rows: int | None = None
    """Most test rows a cell uses. None uses all."""

    gate: GateConfig = field(default_factory=GateConfig)
    """The promotion policy."""

    promotion: Literal["manual", "approval", "auto"] = "manual"
    """What `lori run` does after filing: `manual` names a candidate and promotes nothing, `approval`
    leaves a request for a second person, `auto` promotes what passes the gate."""


def task_sparsity(adapter: AdapterConfig, task: TaskConfig) -> float:
    """The sparsity a task is learned at: its own, the adapter's, or 1 - 1 / tasks_planned."""
    if task.sparsity is not None:
        return task.sparsity
    if adapter.sparsity is not None:
        return adapter.sparsity
    return 1.0 - 1.0 / adapter.tasks_planned
