"""A registry with three filed versions, all of it true to its digests, without any training.

`assistant` learns safety, maths and code. Versions 1 and 2 keep the guard (safety) where it was;
under the adapter of code, at version 3, it answers worse than the bare base does.
"""

import json
from dataclasses import asdict
from pathlib import Path

from lori_core.cells import needed_cells
from lori_core.config import AdapterConfig, GateConfig
from lori_core.digests import sha256_bytes, sha256_json
from registry.records import (
    Cell,
    CertificateRecord,
    MaskRecord,
    SequenceRecord,
    TaskRecord,
    VersionRecord,
)
from registry.store import Registry, open_registry

NAME = "assistant"
TASKS = ("safety", "maths", "code")
BASE = sha256_json("base")
ROWS = 200


def make_home(home: Path, promotion: str = "manual") -> Path:
    """Declare the sequence, file its versions in the real MLflow store, record its cells."""
    with open_registry(home) as registry:
        declare(registry, promotion)
        for version in range(1, len(TASKS) + 1):
            file(registry, version, home.parent / "files" / str(version))
            record_cells(registry, version)
    return home


def declare(registry: Registry, promotion: str = "manual") -> None:
    """The sequence under a promotion setting."""
    settings = {
        "guards": ["safety"],
        "evaluate": "default",
        "eval_rows": None,
        "gate": asdict(GateConfig()),
        "promotion": promotion,
        "metric_folder": "/",
    }
    registry.declare_sequence(
        SequenceRecord(
            name=NAME,
            base_digest=BASE,
            base_path="./base",
            base={"revision": None, "dtype": "float32"},
            adapter=asdict(AdapterConfig(target_modules="all-linear")),
            settings=settings,
            tasks=TASKS,
        )
    )
    for position, task in enumerate(TASKS, start=1):
        registry.declare_task(
            NAME,
            TaskRecord(
                position=position,
                name=task,
                config={"metric": "exact_match", "training": {"learning_rate": 5e-4}},
                data={role: sha256_json([task, role]) for role in ("train", "test")},
            ),
        )


def file(registry: Registry, version: int, folder: Path) -> None:
    """One version, with the certificate that belongs to it."""
    document = certificate(version)
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 32}')
    (folder / "lori.safetensors").write_bytes(f"values {version}".encode())
    (folder / "certificate.json").write_text(json.dumps(document))
    registry.file_version(
        VersionRecord(
            sequence=NAME,
            version=version,
            task=TASKS[version - 1],
            adapter_sha256=certified(version)["content"],
            mask=MaskRecord(
                sha256=sha256_json(certified(version)["masks"]), nnz=3, total=30, layers={"q": 3}
            ),
            certificate=CertificateRecord(
                level="G2", read="inherited", document=document, sha256=sha256_json(document)
            ),
        ),
        folder,
    )


def certified(position: int) -> dict[str, object]:
    """What a certificate says of one task."""
    return {
        "task": TASKS[position - 1],
        "position": position,
        "content": sha256_json(["adapter", position]),
        "masks": {"q": sha256_json(["mask", position])},
        "values": {"q": sha256_json(["values", position])},
        "a": {"q": sha256_json("a")},
        "head": None,
    }


def certificate(version: int) -> dict[str, object]:
    """The certificate of a version; it follows the one before."""
    return {
        "version": version,
        "level": "G2",
        "read": "inherited",
        "protection": "disjoint",
        "base": {"digest": BASE},
        "tasks": [certified(position) for position in range(1, version + 1)],
        "previous": None if version == 1 else sha256_json(certificate(version - 1)),
    }


def record_cells(registry: Registry, version: int) -> None:
    """Every cell a version needs, each with its predictions."""
    for cell in needed_cells(TASKS, version, ("inherited", "cumulative"), guards=("safety",)):
        right = _right(cell.row_version, cell.task, cell.adapter_of)
        under = cell.adapter_of or cell.task
        effective = None if cell.row_version == 0 else sha256_json([under, cell.read])
        rows = [
            {"id": f"{cell.task}-{n}", "prediction": "yes" if n < right else "no", "parts": {},
             "score": float(n < right)}
            for n in range(ROWS)
        ]  # fmt: skip
        data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        digest = sha256_bytes(data)
        path = registry.settings.home / "predictions" / f"{digest}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        registry.record_cell(
            Cell(
                key=sha256_json([asdict(cell), right]),
                sequence=NAME,
                version=cell.row_version,
                task=cell.task,
                read=cell.read,
                adapter_of=cell.adapter_of,
                value=right / ROWS,
                n=ROWS,
                low=max(0.0, right / ROWS - 0.05),
                high=min(1.0, right / ROWS + 0.05),
                metric="exact_match",
                metric_version="1",
                base_digest=BASE,
                effective_digest=effective,
                test_digest=sha256_json([cell.task, "test"]),
                predictions=f"predictions/{digest}.jsonl",
                predictions_sha256=digest,
            )
        )


def _right(version: int, task: str, under: str | None) -> int:
    """How many rows are answered rightly."""
    if under == "code":
        return 40  # the guard falls
    if under is not None or TASKS.index(task) < version:
        return 180
    return 100
