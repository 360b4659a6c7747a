"""Versions that are sound: their certificates certify the very adapters, masks and files they go with.

Stand-ins for learned ones: the digests are of words, not of tensors, but fit together as ours do.
"""

from dataclasses import replace
from pathlib import Path

from registry_examples import TASKS, sequence_record, task_record

from lori_core.config import AdapterConfig, Protection, Read
from lori_core.digests import sha256_json, write_json
from lori_core.validation import reachable_level
from registry.records import (
    CertificateLevel,
    CertificateRecord,
    Json,
    MaskRecord,
    SequenceRecord,
    VersionRecord,
)
from registry.store import Registry


def certified_task(
    position: int, *, tasks: tuple[str, ...] = TASKS, head: bool = False
) -> dict[str, object]:
    name = tasks[position - 1]
    return {
        "task": name,
        "position": position,
        "content": sha256_json(["content", name]),
        "masks": {"q": sha256_json(["mask", name])},
        "values": {"q": sha256_json(["values", name])},
        "a": {"q": sha256_json("a")},
        "head": sha256_json(["head", name]) if head else None,
    }


def sound_record(
    version: int = 1,
    *,
    sequence: str = "assistant",
    tasks: tuple[str, ...] = TASKS,
    protection: Protection = "disjoint",
    read: Read = "inherited",
    level: CertificateLevel | None = None,
    head: bool = False,
) -> VersionRecord:
    """Version k, with the certificate that follows those of the versions before it."""
    previous: str | None = None
    reached = reachable_level(AdapterConfig(protection=protection, read=read))
    document: dict[str, object] = {}
    for k in range(1, version + 1):
        document = {
            "version": k,
            "level": level or reached,
            "read": read,
            "protection": protection,
            "base": {"digest": sha256_json("base")},
            "tasks": [certified_task(i, tasks=tasks, head=head) for i in range(1, k + 1)],
            "previous": previous,
        }
        previous = sha256_json(document)
    mine = certified_task(version, tasks=tasks, head=head)
    assert previous is not None
    return VersionRecord(
        sequence=sequence,
        version=version,
        task=tasks[version - 1],
        adapter_sha256=str(mine["content"]),
        mask=MaskRecord(sha256=sha256_json(mine["masks"]), nnz=3, total=30, layers={"q": 3}),
        certificate=CertificateRecord(
            level=level or reached,  # type: ignore[arg-type]
            read=read,
            document=document,
            sha256=previous,
        ),
    )


def sound_files(folder: Path, record: VersionRecord) -> Path:
    """The files such a version is filed with."""
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "lori.safetensors").write_bytes(f"values of {record.task}".encode())
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 4}')
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(record.task.encode())
    write_json(folder / "certificate.json", record.certificate.document)
    return folder


def declare_tasks(
    registry: Registry, record: SequenceRecord | None = None, *, settings: Json | None = None
) -> None:
    """Declare a sequence and the tasks it names."""
    declared = record or sequence_record()
    if settings is not None:
        declared = replace(declared, settings={**declared.settings, **settings})
    registry.declare_sequence(declared)
    for position, name in enumerate(declared.tasks, start=1):
        task = replace(
            task_record(1),
            position=position,
            name=name,
            data={role: sha256_json([name, role]) for role in ("train", "test")},
        )
        registry.declare_task(declared.name, task)


def file_sound(registry: Registry, place: Path, *records: VersionRecord) -> None:
    """File versions, in order."""
    for record in records:
        folder = place / f"{record.sequence}-{record.version}"
        registry.file_version(record, sound_files(folder, record))
