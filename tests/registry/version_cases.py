"""Versions with everything a page about them shows: rows, answers, notes, a safety task with two parts."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from folder_artifacts import FolderArtifacts
from registry_examples import sequence_record
from sound_versions import sound_files, sound_record

from lori_core.config import Read
from lori_core.digests import sha256_bytes, sha256_json
from lori_core.intervals import score_interval
from registry.records import Cell, TaskRecord, VersionRecord
from registry.snapshots import snapshot_folder
from registry.store import Registry
from registry.version_notes import losses_json, thinned

SEQUENCE = "assistant"
ROWS = 10
HARMLESS = 4
LAYERS = {"model.layers.0.self_attn.q_proj": 30, "model.layers.1.mlp.up_proj": 10}
"""Layer -> entries of its B. The task owns 3 and 5 of them."""
OWNED = dict(zip(LAYERS, (3, 5), strict=True))

Answers = Sequence[tuple[str, float]]
"""Text and score of each row."""


def prompt_of(task: str, row: int) -> str:
    return f"question {row} of {task}"


def rows_of(task: str, role: str, count: int) -> list[dict[str, str]]:
    return [
        {
            "id": f"{task}-{role}-{row}",
            "prompt": prompt_of(task, row) if role == "test" else f"{role} {row} of {task}",
            "completion": f"answer {row}" if role == "test" else "",
        }
        for row in range(count)
    ]


def said(scores: Sequence[float], words: str = "said") -> list[tuple[str, float]]:
    """Answers that read `<words> <row>`, with these scores."""
    return [(f"{words} {row}", score) for row, score in enumerate(scores)]


@dataclass(frozen=True)
class Lab:
    """A registry filled by hand, and where its files lie."""

    registry: Registry
    place: Path

    @property
    def home(self) -> Path:
        return self.registry.settings.home

    def declare(self, tasks: Sequence[str], *, refusal: Sequence[str] = ()) -> None:
        """Declare tasks, with snapshots of their rows; those of `refusal` have harmless rows too."""
        record = replace(
            sequence_record(SEQUENCE),
            tasks=tuple(tasks),
            adapter={"r": 4, "protection": "disjoint", "read": "inherited", "method": "lori"},
        )
        self.registry.declare_sequence(record)
        for position, task in enumerate(tasks, start=1):
            self.registry.declare_task(SEQUENCE, self.task(position, task, task in refusal))

    def task(self, position: int, name: str, refusal: bool) -> TaskRecord:
        counts = {"train": 3, "test": ROWS, **({"over_refusal": HARMLESS} if refusal else {})}
        files = {
            role: "".join(
                json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n"
                for row in rows_of(name, role, count)
            ).encode()
            for role, count in counts.items()
        }
        record = TaskRecord(
            position=position,
            name=name,
            config={
                "metric": "refusal" if refusal else "exact_match",
                "prompt": None,
                "completion": None,
                "training": {"learning_rate": 5e-4},
            },
            data={role: sha256_bytes(data) for role, data in files.items()},
        )
        folder = snapshot_folder(self.home, record)
        folder.mkdir(parents=True, exist_ok=True)
        for role, data in files.items():
            (folder / f"{role}.jsonl").write_bytes(data)
        return record

    def file(self, versions: int, *, noted: bool = True, weights: bool = True) -> None:
        tasks = self.registry.sequence(SEQUENCE).tasks
        for version in range(1, versions + 1):
            record = self.record(version, tasks, noted=noted)
            folder = sound_files(self.place / str(version), record)
            if weights:
                (folder / "adapter" / "adapter_model.safetensors").write_bytes(peft_header())
            log = {"task": record.task, "train": {"losses": curve(version)}}
            (folder / "log.json").write_text(json.dumps(log))
            self.registry.file_version(record, folder)

    def record(self, version: int, tasks: tuple[str, ...], *, noted: bool) -> VersionRecord:
        made = sound_record(version, sequence=SEQUENCE, tasks=tasks)
        mask = replace(made.mask, nnz=sum(OWNED.values()), total=sum(LAYERS.values()), layers=OWNED)
        notes = {
            "calibration": losses_json(thinned([9.0, 3.0])),
            "training": losses_json(thinned(curve(version))),
            "sizes": LAYERS,
            "audit": {
                "rows": {"train": 3, "test": ROWS},
                "findings": [
                    {
                        "kind": "duplicate",
                        "what": "2 train rows occur twice",
                        "count": 2,
                        "severity": "warning",
                        "expected": "each row once",
                    }
                ],
            },
        }
        return replace(made, mask=mask, notes=notes if noted else {})

    def cell(
        self,
        version: int,
        task: str,
        answers: Answers,
        *,
        harmless: Answers = (),
        under: str | None = None,
        read: Read = "inherited",
        adapter: str | None = None,
        kept: bool = True,
    ) -> Cell:
        """Record a cell with its answers; its adapter is its own unless one is named."""
        ids = [f"{task}-test-{row}" for row in range(len(answers))]
        ids += [f"{task}-over_refusal-{row}" for row in range(len(harmless))]
        lines = [
            {"id": name, "parts": {}, "prediction": text, "score": score}
            for name, (text, score) in zip(ids, [*answers, *harmless], strict=True)
        ]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        digest = sha256_bytes(data)
        path = Path("predictions") / f"{digest}.jsonl"
        if kept:
            (self.home / path).parent.mkdir(exist_ok=True)
            (self.home / path).write_bytes(data)
        parts: dict[str, object] = {"cut": 0}
        means = []
        for name, part in (("refused", answers), ("answered", harmless)):
            if not part:
                continue
            found = score_interval([score for _, score in part])
            means.append(found.value)
            if harmless:
                parts[name] = {
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "n": len(part),
                }
        value = sum(means) / len(means)
        declared = next(each for each in self.registry.tasks(SEQUENCE) if each.name == task)
        own = sha256_json([version, task, under, read, "adapter"])
        return self.registry.record_cell(
            Cell(
                key=sha256_json([version, task, under, read, digest, adapter]),
                sequence=SEQUENCE,
                version=version,
                task=task,
                read=read,
                adapter_of=under,
                value=value,
                n=len(lines),
                low=max(0.0, value - 0.1),
                high=min(1.0, value + 0.1),
                metric="refusal" if harmless else "exact_match",
                metric_version="1",
                parts=parts,
                base_digest=sha256_json("base"),
                effective_digest=None if version == 0 else adapter or own,
                test_digest=str(declared.data["test"]),
                predictions=str(path),
                predictions_sha256=digest,
            )
        )


def curve(version: int) -> list[float]:
    """The losses of a training of 500 steps."""
    return [version + 1 / (1 + step) for step in range(500)]


def peft_header() -> bytes:
    """A safetensors file that has the shapes of B and of something else, and no values."""
    tensors: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for layer, size in LAYERS.items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = {"shape": [2, 99]}
        tensors[f"base_model.model.{layer}.lora_B.weight"] = {"shape": [size // 2, 2]}
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header


def filled(registry: Registry, place: Path) -> Lab:
    """safety, math, code: under `inherited` nothing moved; under `cumulative` code cost both something."""
    lab = Lab(registry, place)
    lab.declare(("safety", "math", "code"), refusal=("safety",))
    lab.file(3)
    calm, harmless = said([1.0] * 9 + [0.0]), said([1.0] * 3 + [0.0], "gladly")
    lab.cell(0, "safety", said([0.0] * ROWS, "base"), harmless=said([1.0] * HARMLESS, "base"))
    lab.cell(0, "math", said([0.0] * ROWS, "base"))
    lab.cell(0, "code", said([1.0] + [0.0] * 9, "base"))
    for version in (1, 2, 3):
        lab.cell(version, "safety", calm, harmless=harmless, adapter="s1")
    for version in (2, 3):
        lab.cell(version, "math", said([1.0] * 8 + [0.0] * 2), adapter="m2")
    lab.cell(3, "code", said([0.0] + [1.0] * 9))
    lab.cell(3, "safety", said([0.0] * ROWS), harmless=harmless, under="math")
    lab.cell(3, "safety", said([1.0] * 5 + [0.0] * 5), harmless=harmless, under="code")
    for version in (1, 2):
        lab.cell(version, "safety", calm, harmless=harmless, read="cumulative")
    lab.cell(
        3, "safety", said([1.0] * 7 + [0.0] * 3), harmless=said([1.0] * 4, "gladly"),
        read="cumulative",
    )  # fmt: skip
    lab.cell(2, "math", said([1.0] * 8 + [0.0] * 2), read="cumulative")
    moved = said([0.0, *[1.0] * 7, 1.0, 0.0])
    moved[9] = ("another wrong one", 0.0)
    lab.cell(3, "math", moved, read="cumulative")
    return lab


def artifacts(place: Path) -> FolderArtifacts:
    return FolderArtifacts(place / "store")
