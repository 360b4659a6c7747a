"""Tasks learned by one process or by several: `python -m tests.lori_core.distributed_cases FOLDER JOB...`.

A job is `causal`, `encoder`, or `stopped`: the causal one, left at step 20 of its training (where its
folder is copied to `left`) and gone on with. The first process leaves in FOLDER/JOB what came of it.
"""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file

from lori_core.distributed import ALONE, FirstLeft, Ranks, join
from lori_core.phase import Progress, Watch
from lori_core.phases import Ground, Lesson, calibrate, choose_masks, train_sparse
from tests.lori_core.training_cases import (
    ADAPTER,
    LABELS,
    TRAINING,
    bert_with_adapter,
    causal_ground,
    causal_rows,
    encoder_ground,
    encoder_rows,
    llama_with_adapter,
)

STEPS = 50
ROWS = 33
LEFT_AT = 20
WIDE = replace(ADAPTER, r=16, lora_alpha=32.0)


class Left(Exception):
    """The first process leaves at a checkpoint, as it does on SIGTERM."""


def lesson(family: str) -> Lesson:
    """Fifty steps of eight rows in two micro-batches; the last step has a single row."""
    training = replace(
        TRAINING,
        train_batch_size=8,
        gradient_accumulation_steps=2,
        num_train_epochs=(8 * (STEPS - 1) + 1) / ROWS,
    )
    if family == "encoder":
        return Lesson(task="moods", rows=encoder_rows(ROWS), training=training, labels=LABELS)
    return Lesson(task="sums", rows=causal_rows(ROWS), training=training)


def taught(family: str, ranks: Ranks) -> tuple[PeftModel, Lesson, Ground]:
    """A fresh model, what it learns, and with whom."""
    if family == "encoder":
        return bert_with_adapter(WIDE), lesson(family), replace(encoder_ground(WIDE), ranks=ranks)
    return llama_with_adapter(WIDE), lesson(family), replace(causal_ground(WIDE), ranks=ranks)


def learn(family: str, folder: Path, ranks: Ranks = ALONE, stop: int = 0) -> None:
    """Calibrate, choose the mask and train; the first process writes what came of it."""
    model, rows, ground = taught(family, ranks)
    calibrated = calibrate(model, rows, ground, output=folder / "calibrate")
    masks = choose_masks(calibrated, ground, sparsity=0.75)
    done = [0]

    def told(progress: Progress) -> None:
        done[0] = progress.step
        if progress.saved and progress.step == stop:
            raise Left

    watch = Watch(told, lambda: done[0] + 1 == stop)
    trained = train_sparse(model, masks, rows, ground, output=folder / "train", watch=watch)
    if not ranks.first:
        return
    facts = {
        "calibrate": calibrated.log.losses,
        "train": trained.log.losses,
        "norms": trained.log.grad_norms,
        "tokens": [calibrated.log.tokens, trained.log.tokens],
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    tensors = {f"change.{n}": t.contiguous() for n, t in calibrated.change.items()}
    tensors |= {f"mask.{n}": t.contiguous() for n, t in masks.items()}
    tensors |= {f"value.{n}": t.contiguous() for n, t in trained.adapter.values.items()}
    tensors |= {f"head.{n}": t.contiguous() for n, t in (trained.adapter.head or {}).items()}
    save_file(tensors, folder / "result.safetensors")


def main(place: str, *jobs: str) -> None:
    """Do the jobs as one of several processes."""
    torch.set_num_threads(1)
    ranks = join("cpu")
    assert "RANK" not in os.environ
    for job in jobs:
        folder = Path(place) / job
        folder.mkdir(exist_ok=True)
        if job != "stopped":
            learn(job, folder, ranks)
            continue
        with pytest.raises(Left if ranks.first else FirstLeft):
            learn("causal", folder, ranks, stop=LEFT_AT)
        if ranks.first:
            shutil.copytree(folder, folder.with_name("left"))
        learn("causal", folder, ranks)


if __name__ == "__main__":
    main(*sys.argv[1:])
