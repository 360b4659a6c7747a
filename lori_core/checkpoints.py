"""Checkpoints of a phase: safetensors and JSON, whole or not there.

A checkpoint is written to a folder of another name, flushed, and renamed. Its marker, the JSON
file, holds the identity of the phase and the digests of the other files and of itself. What has no
marker, does not match it, or belongs to another phase is never loaded. Nothing is ever unpickled.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from lori_core.digests import sha256_bytes, sha256_file, sha256_json

_MARKER = "checkpoint.json"
_TENSORS = "tensors.safetensors"
TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a checkpoint remembers besides tensors; JSON keeps all of it exactly."""

    losses: tuple[float, ...]
    """Loss of each step."""

    grad_norms: tuple[float, ...]
    """Global gradient norm of each step."""

    tokens: int
    """Tokens read."""

    schedule: dict[str, object]
    """State of the learning rate schedule."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    folder: Path
    """Where it is."""

    step: int
    """Optimiser steps done."""

    facts: Facts
    """Figures and schedule."""

    def tensors(self) -> dict[str, Tensor]:
        """Load the tensors, on the CPU."""
        return safetensors.torch.load_file(self.folder / _TENSORS)


def write_checkpoint(
    root: Path,
    *,
    step: int,
    identity: str,
    tensors: Mapping[str, Tensor],
    facts: Facts,
    trainer_state: str,
) -> Checkpoint:
    """Write the checkpoint of `step` beneath `root`, whole or not at all, and drop older ones.

    Args:
        root: folder of the phase.
        step: optimiser steps done.
        identity: digest of everything that decides the phase; checked on reading.
        tensors: CPU tensors, by name.
        facts: figures and schedule.
        trainer_state: the text of transformers' own `trainer_state.json`.
    """
    target = root / f"checkpoint-{step}"
    draft = root / f".writing-{step}-{os.getpid()}"
    files = {
        _TENSORS: safetensors.torch.save(dict(tensors)),
        TRAINER_STATE: trainer_state.encode(),
    }
    marker = {
        "step": step,
        "identity": identity,
        "files": {name: sha256_bytes(data) for name, data in files.items()},
        "facts": asdict(facts),
    }
    files[_MARKER] = json.dumps(marker | {"sha256": sha256_json(marker)}).encode()
    for leftover in root.glob(".writing-*"):
        shutil.rmtree(leftover)
    try:
        draft.mkdir(parents=True)
        for name, data in files.items():
            _write_flushed(draft / name, data)
        if target.exists():  # cut off, or of another phase: it was not loaded
            shutil.rmtree(target)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # a full disk leaves nothing behind
    _flush_folder(root)
    for folder in root.glob("checkpoint-*"):
        if folder != target:
            shutil.rmtree(folder)
    return Checkpoint(target, step, facts)


def newest_checkpoint(root: Path, identity: str) -> Checkpoint | None:
    """The whole checkpoint of this very phase with the most steps, or None.

    Leftovers of a killed write are ignored, wherever the kill fell.
    """
    found = [_read(folder, identity) for folder in root.glob("checkpoint-*")]
    return max((c for c in found if c is not None), key=lambda c: c.step, default=None)


def _read(folder: Path, identity: str) -> Checkpoint | None:
    """The checkpoint in `folder` if it is whole and of this phase."""
    try:
        marker = json.loads((folder / _MARKER).read_bytes())
        digest = marker.pop("sha256")
        whole = (
            digest == sha256_json(marker)
            and marker["identity"] == identity
            and all(sha256_file(folder / name) == sha for name, sha in marker["files"].items())
        )
        facts = marker["facts"]
        kept = Facts(
            tuple(facts["losses"]), tuple(facts["grad_norms"]), facts["tokens"], facts["schedule"]
        )
        return Checkpoint(folder, marker["step"], kept) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # cut off anywhere
        return None


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
