"""The stages that learn: calibrate, mask, train."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from flows.reporter import Reporter, Timer
from flows.stages.bench import ADAPTER_FILE, assignment, bench, file_digests
from lori_core.artifact import save_task_adapter
from lori_core.config import TrainingConfig, task_sparsity
from lori_core.digests import sha256_bytes, write_atomic, write_json
from lori_core.distributed import joined
from lori_core.masks import pack_mask, unpack_mask
from lori_core.phase import PhaseLog, Progress, Watch
from lori_core.phases import (
    calibrate,
    choose_masks,
    load_calibrated,
    save_calibrated,
    train_lora,
    train_sparse,
)
from lori_core.shared_adapter import content_digest, mask_digest
from registry.version_notes import losses_json, thinned

CALIBRATED = "calibrated.safetensors"
MASKS = "masks.safetensors"
LOG = "log.json"
CHECKPOINTS = "checkpoints"

Spec = dict[str, Any]
Facts = dict[str, Any]


def calibrate_stage(spec: Spec, folder: Path, reporter: Reporter) -> Facts:
    """Train every free entry densely; keep how far each one moved.

    Of several processes each does its part, and the first keeps what came of it.
    """
    told, ranks = assignment(spec), joined()
    work = bench(told.config, told.base_digest)
    calibrated = calibrate(
        work.model,
        work.lesson(told.task, told.rows),
        work.ground(ranks),
        earlier=told.shared(),
        output=folder / CHECKPOINTS,
        watch=watching(reporter, told.task.training),
    )
    if not ranks.first:
        return {}
    digest = save_calibrated(calibrated, folder / CALIBRATED)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return {"files": {CALIBRATED: digest}, **_summary(calibrated.log)}


def mask_stage(spec: Spec, folder: Path, reporter: Reporter) -> Facts:
    """Choose the entries the task may write."""
    told = assignment(spec)
    work = bench(told.config, told.base_digest)
    masks = choose_masks(
        load_calibrated(told.before["calibrate"] / CALIBRATED),
        work.ground(),
        sparsity=task_sparsity(told.config.adapter, told.task),
        earlier=told.shared(),
    )
    tensors = {layer: pack_mask(mask) for layer, mask in masks.items()}
    tensors |= {f"{layer}.shape": torch.tensor(mask.shape) for layer, mask in masks.items()}
    data = save(tensors)
    write_atomic(folder / MASKS, data)
    return {
        "files": {MASKS: sha256_bytes(data)},
        "marked": sum(int(mask.sum()) for mask in masks.values()),
        "entries": sum(mask.numel() for mask in masks.values()),
    }


def train_stage(spec: Spec, folder: Path, reporter: Reporter) -> Facts:
    """Train the chosen entries (or, for plain LoRA, all of A and B); keep the task's adapter.

    Of several processes each does its part, and the first keeps what came of it.
    """
    told, ranks = assignment(spec), joined()
    work = bench(told.config, told.base_digest)
    lesson = work.lesson(told.task, told.rows)
    ground, earlier, output = work.ground(ranks), told.shared(), folder / CHECKPOINTS
    watch = watching(reporter, told.task.training)
    if told.config.adapter.method == "lora":
        trained = train_lora(
            work.model, lesson, ground, earlier=earlier, output=output, watch=watch
        )
    else:
        masks = read_masks(told.before["mask"] / MASKS)
        trained = train_sparse(
            work.model, masks, lesson, ground, earlier=earlier, output=output, watch=watch
        )
    if not ranks.first:
        return {}
    save_task_adapter(trained.adapter, folder / ADAPTER_FILE)
    several = {} if ranks.alone else {"processes": ranks.count}
    write_json(folder / LOG, {"task": told.task.name, "train": asdict(trained.log), **several})
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    adapter = trained.adapter
    return {
        "files": file_digests(folder, ADAPTER_FILE, LOG),
        "adapter_sha256": content_digest(adapter),
        "mask_sha256": mask_digest(adapter),
        "layers": {layer: int(mask.sum()) for layer, mask in adapter.masks.items()},
        "sizes": {layer: mask.numel() for layer, mask in adapter.masks.items()},
        "entries": sum(mask.numel() for mask in adapter.masks.values()),
        **_summary(trained.log),
    }


def read_masks(path: Path) -> dict[str, torch.Tensor]:
    """layer name -> the mask that `mask_stage` wrote."""
    tensors = load_file(path)
    return {
        name: unpack_mask(packed, tuple(tensors[f"{name}.shape"].tolist()))
        for name, packed in tensors.items()
        if not name.endswith(".shape")
    }


def _summary(log: PhaseLog) -> Facts:
    return {
        "steps": log.steps,
        "tokens": log.tokens,
        "first_loss": log.losses[0],
        "last_loss": log.losses[-1],
        "losses": losses_json(thinned(log.losses)),
    }


def watching(reporter: Reporter, training: TrainingConfig) -> Watch:
    """What training tells and asks: through the reporter, and a checkpoint every so many minutes."""
    timer = Timer(60 * training.checkpoint_minutes)

    def told(progress: Progress) -> None:
        if progress.saved:
            timer.restart()
        reporter.training(progress)

    return Watch(told, lambda: reporter.checkpoint_due() or timer.over())
