"""The smallest real records, for the tests of this room and for the child processes they start."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lori_core.digests import sha256_json
from registry.records import (
    Cell,
    CertificateRecord,
    MaskRecord,
    SequenceRecord,
    TaskRecord,
    VersionRecord,
)
from registry.store import Registry

TASKS = ("safety", "math", "code")


def sequence_record(name: str = "assistant") -> SequenceRecord:
    return SequenceRecord(
        name=name,
        base_digest=sha256_json("base"),
        base_path="/models/micro",
        base={"revision": None, "dtype": "float32"},
        adapter={"r": 4, "lora_alpha": 8.0, "target_modules": ["q_proj"], "seed": 0},
        settings={"guards": ["safety"], "promotion": "manual"},
        tasks=TASKS,
    )


def task_record(position: int) -> TaskRecord:
    name = TASKS[position - 1]
    return TaskRecord(
        position=position,
        name=name,
        config={"metric": "exact_match", "training": {"learning_rate": 5e-4}},
        data={"train": sha256_json([name, "train"]), "test": sha256_json([name, "test"])},
    )


def cell(version: int, task: str, value: float = 0.5, **place: str) -> Cell:
    made = Cell(
        key=sha256_json([version, task, value, sorted(place.items())]),
        sequence="assistant",
        version=version,
        task=task,
        read="inherited",
        value=value,
        n=100,
        low=value - 0.1,
        high=value + 0.1,
        metric="exact_match",
        metric_version="1",
        parts={"right": 50},
        base_digest=sha256_json("base"),
        effective_digest=sha256_json([version, task]) if version else None,
        test_digest=sha256_json([task, "test"]),
        predictions="cells/x.jsonl",
        predictions_sha256=sha256_json("predictions"),
    )
    return replace(made, **place)


_SEALED: dict[tuple[str, ...], str] = {}
"""Adapter and tasks -> the digest of their certificate: each holds all before it."""


def certificate(version: int, adapter: str, tasks: tuple[str, ...]) -> dict[str, object]:
    """What certifies the very adapters and masks of `version_record`, as ours do."""
    learned = [
        {
            "position": position,
            "task": tasks[position - 1],
            "content": sha256_json([adapter, position]),
            "masks": ["mask", position],
        }
        for position in range(1, version + 1)
    ]
    known = next((k for k in range(version - 1, 0, -1) if (adapter, *tasks[:k]) in _SEALED), 0)
    document: dict[str, object] = {}
    for position in range(known + 1, version + 1):
        document = {
            "version": position,
            "level": "G2",
            "read": "inherited",
            "protection": "disjoint",
            "base": {"digest": sha256_json("base")},
            "previous": _SEALED.get((adapter, *tasks[: position - 1])),
            "tasks": learned[:position],
        }
        _SEALED[(adapter, *tasks[:position])] = sha256_json(document)
    return document


def version_record(
    version: int = 1, *, adapter: str = "adapter", tasks: tuple[str, ...] = TASKS
) -> VersionRecord:
    document = certificate(version, adapter, tasks)
    return VersionRecord(
        sequence="assistant",
        version=version,
        task=tasks[version - 1],
        adapter_sha256=sha256_json([adapter, version]),
        mask=MaskRecord(sha256=sha256_json(["mask", version]), nnz=3, total=30, layers={"q": 3}),
        certificate=CertificateRecord(
            level="G2", read="inherited", document=document, sha256=sha256_json(document)
        ),
        params={"sparsity": "0.9"},
        metrics={"loss/train": 0.25},
    )


def declare(registry: Registry) -> None:
    registry.declare_sequence(sequence_record())
    for position in (1, 2, 3):
        registry.declare_task("assistant", task_record(position))


def write_files(folder: Path, marker: str = "one") -> Path:
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "lori.safetensors").write_bytes(f"values {marker}".encode())
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 4}')
    (folder / "certificate.json").write_text('{"level": "G2"}')
    return folder


def killed_or_done(work: Callable[[], None]) -> int:
    """Run `work` in a child process of its own; 0, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die() -> None:
    """What `kill -9` does: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
