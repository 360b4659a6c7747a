"""The workbench of the training child: the base, loaded once, and what a stage is told."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lori_core.adapters import attach
from lori_core.artifact import load_task_adapter
from lori_core.base import base_family, load_causal, load_encoder, load_tokenizer
from lori_core.base_folder import read_base_config
from lori_core.base_identity import BaseIdentity, identify_base
from lori_core.config import SequenceConfig, TaskConfig
from lori_core.digests import sha256_file, sha256_json
from lori_core.distributed import ALONE, Ranks
from lori_core.encoding import (
    EncodedRows,
    chat_of,
    encode_causal,
    encode_encoder,
    pad_id,
    within_base,
)
from lori_core.evaluation import CellResult, OnProgress, evaluate_causal, evaluate_encoder
from lori_core.heads import pretrained_head
from lori_core.phase import Device, Family
from lori_core.phases import Ground, Lesson
from lori_core.prompts import Chat, Example
from lori_core.runtime import useful_threads
from lori_core.sequence_file import sequence_from_json, sequence_to_json
from lori_core.shared_adapter import SharedAdapter
from lori_core.task_rows import TaskRows, labels, load_snapshot

ADAPTER_FILE = "lori.safetensors"


@dataclass(frozen=True)
class Bench:
    """One base with its adapter attached. Stages write A, B and head before they use it."""

    config: SequenceConfig

    base_digest: str

    @cached_property
    def family(self) -> Family:
        """Causal model or encoder."""
        return base_family(self.config.base)

    @cached_property
    def device(self) -> Device:
        """Where phases run: a GPU where there is one."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def identity(self) -> BaseIdentity:
        """Every digest of the base's files."""
        base = self.config.base
        return identify_base(base.path, base.revision, base.dtype)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's tokenizer; it promises no more tokens than the base has positions for."""
        config = read_base_config(self.config.base)
        positions = config.get("max_position_embeddings", config.get("n_positions"))
        return within_base(
            load_tokenizer(self.config.base), positions if isinstance(positions, int) else None
        )

    @cached_property
    def chat(self) -> Chat | None:
        """The base's chat template."""
        return chat_of(self.tokenizer)

    @cached_property
    def _loaded(self) -> tuple[PeftModel, Mapping[str, Tensor]]:
        """The model with its adapter, and the untrained base's own part of the head."""
        seed = self.config.adapter.seed
        if self.family == "encoder":
            base = load_encoder(self.config.base, 2, seed)
            pretrained = pretrained_head(base)
        else:
            base, pretrained = load_causal(self.config.base), {}
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(useful_threads(base.config.hidden_size))
        return attach(base, self.config.adapter, seed=seed), pretrained

    @property
    def model(self) -> PeftModel:
        """The model, on `device`."""
        return self._loaded[0].to(self.device)

    @property
    def reference_model(self) -> PeftModel:
        """The same model on the CPU, where certificates are made."""
        return self._loaded[0].to("cpu")

    def ground(self, ranks: Ranks = ALONE) -> Ground:
        """What every task of the sequence stands on."""
        return Ground(
            adapter=self.config.adapter,
            family=self.family,
            base_digest=self.base_digest,
            pad_id=pad_id(self.tokenizer),
            pretrained_head=self._loaded[1],
            device=self.device,
            ranks=ranks,
        )

    def encode(
        self, task: TaskConfig, examples: Sequence[Example], known: Sequence[str]
    ) -> EncodedRows:
        """Rows as tokens to learn from."""
        length = task.training.max_length
        if self.family == "encoder":
            return encode_encoder(examples, self.tokenizer, max_length=length, labels=known)
        return encode_causal(
            examples, self.tokenizer, max_length=length, allow_dropped=task.allow_dropped
        )

    def labels_of(self, rows: TaskRows) -> tuple[str, ...]:
        """A task's classes; none for a causal model."""
        return labels(rows.train) if self.family == "encoder" else ()

    def rows(self, task: TaskConfig, folder: Path) -> TaskRows:
        """A task's rows from its snapshot, rendered."""
        return load_snapshot(task, folder, self.chat)

    def score(
        self,
        task: TaskConfig,
        rows: TaskRows,
        classes: Sequence[str],
        on_progress: OnProgress,
        *,
        eval_rows: int | None,
        metric_folder: Path | None = None,
    ) -> CellResult:
        """Score a task's test rows under whatever is in the model now."""
        if self.family == "encoder":
            return evaluate_encoder(
                self.model,
                self.tokenizer,
                task,
                rows.test,
                labels=classes,
                eval_rows=eval_rows,
                metric_folder=metric_folder,
                on_progress=on_progress,
            )
        return evaluate_causal(
            self.model,
            self.tokenizer,
            task,
            rows.test,
            rows.over_refusal,
            eval_rows=eval_rows,
            seed=self.config.adapter.seed,
            metric_folder=metric_folder,
            on_progress=on_progress,
        )

    def lesson(self, task: TaskConfig, folder: Path) -> Lesson:
        """What a task is learned from."""
        rows = self.rows(task, folder)
        known = self.labels_of(rows)
        encoded = self.encode(task, rows.train, known)
        return Lesson(task=task.name, rows=encoded.rows, training=task.training, labels=known)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every stage of a task is told, out of the JSON of its order."""

    home: Path

    config: SequenceConfig

    base_digest: str

    position: int
    """Of the task, from 1."""

    data: tuple[Path, ...]
    """Snapshot folder of every task from the first up to this one."""

    earlier: tuple[Path, ...]
    """Folder of every version filed before, in order."""

    before: Mapping[str, Path]
    """Stage -> its folder, for the stages of this task that came before."""

    @property
    def task(self) -> TaskConfig:
        """The task itself."""
        return self.config.tasks[self.position - 1]

    @property
    def rows(self) -> Path:
        """The snapshot of the task itself."""
        return self.data[self.position - 1]

    def shared(self) -> SharedAdapter:
        """The tasks learned before this one."""
        return shared_adapter(self.earlier)


def shared_adapter(folders: Sequence[Path]) -> SharedAdapter:
    """The tasks whose versions lie in `folders`, in order, every digest checked."""
    return SharedAdapter(tuple(load_task_adapter(folder / ADAPTER_FILE) for folder in folders))


def assignment(spec: Mapping[str, Any]) -> Assignment:
    """Read the JSON of an order."""
    return Assignment(
        home=Path(spec["home"]),
        config=sequence_from_json(spec["sequence"]),
        base_digest=spec["base"],
        position=spec["position"],
        data=tuple(Path(each) for each in spec["data"]),
        earlier=tuple(Path(each) for each in spec["earlier"]),
        before={stage: Path(folder) for stage, folder in spec["before"].items()},
    )


_benches: dict[str, Bench] = {}


def bench(config: SequenceConfig, base_digest: str) -> Bench:
    """The workbench of a sequence, kept between the stages of one child; one at a time."""
    settings = sequence_to_json(config)
    key = sha256_json([settings["base"], settings["adapter"], base_digest])
    if key not in _benches:
        _benches.clear()
        _benches[key] = Bench(config, base_digest)
    return _benches[key]


def file_digests(folder: Path, *names: str) -> dict[str, str]:
    """name -> sha256 of files in a stage's folder, for its result."""
    return {name: sha256_file(folder / name) for name in names}
