"""What the registry is told about a version, out of the results of its stages."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.adopting import audited_measured
from flows.checks import audited
from flows.plan import Plan
from lori_core.config import DataSource, Read, TaskConfig, task_sparsity
from registry.records import CertificateRecord, Json, MaskRecord, VersionRecord

CERTIFICATE = "version/certificate.json"


def version_record(
    plan: Plan,
    position: int,
    calibrated: dict[str, Any] | None,
    trained: dict[str, Any],
    certified: dict[str, Any],
    home: Path,
) -> VersionRecord:
    """The record of the version that the task at `position` becomes.

    Args:
        plan: of its sequence.
        position: of the task, from 1.
        calibrated: what calibration found; None where nothing had to be chosen.
        trained: what training found.
        certified: what the certificate found.
        home: which the folders of the stages are relative to.
    """
    config = plan.config
    task = config.tasks[position - 1]
    training = task.training
    return VersionRecord(
        sequence=plan.name,
        version=position,
        task=task.name,
        adapter_sha256=trained["adapter_sha256"],
        mask=mask_record(trained),
        certificate=certificate_record(config.adapter.read, certified, home / certified["folder"]),
        params={
            "task": task.name,
            "sparsity": str(task_sparsity(config.adapter, task)),
            "num_train_epochs": str(training.num_train_epochs),
            "train_batch_size": str(training.train_batch_size),
            "learning_rate_dense": str(training.learning_rate_dense),
            "learning_rate": str(training.learning_rate),
            "max_length": str(training.max_length),
        },
        metrics={"first_loss": trained["first_loss"], "last_loss": trained["last_loss"]},
        notes=learned_notes(
            calibrated, trained, audit_note(task, plan.data_folder(home, position), adopted=False)
        ),
    )


def learned_notes(
    calibrated: Mapping[str, Any] | None, trained: Mapping[str, Any], audit: Json
) -> dict[str, Any]:
    """What a version remembers of how it was learned (`registry.version_notes`).

    A stage that finished before there were notes, and is gone on with now, has no losses to tell.
    """
    return {
        "calibration": None if calibrated is None else calibrated.get("losses"),
        "training": trained.get("losses"),
        "sizes": trained.get("sizes"),
        "audit": dict(audit),
    }


def audit_note(task: TaskConfig, folder: Path, *, adopted: bool) -> dict[str, Any]:
    """What the import audit says of a task's rows, as they lie in its snapshot.

    Args:
        task: its settings.
        folder: of its snapshot.
        adopted: what it was trained on is not ours: there are no training rows.
    """
    kept = {
        role: DataSource(path=str(folder / f"{role}.jsonl"))
        for role in ("train", "test", "validation", "over_refusal")
        if (folder / f"{role}.jsonl").is_file()
    }
    here = replace(
        task,
        train=kept.get("train", task.train),
        test=kept["test"],
        validation=kept.get("validation"),
        over_refusal=kept.get("over_refusal", task.over_refusal),
    )
    rows, audit = audited_measured(here) if adopted else audited(here)
    counts = {role: len(getattr(rows, role)) for role in kept}
    findings = [
        {
            "kind": each.kind,
            "what": each.what,
            "count": each.count,
            "severity": each.severity,
            "expected": each.expected,
        }
        for each in audit.findings
    ]
    return {"rows": counts, "findings": findings}


def mask_record(trained: dict[str, Any]) -> MaskRecord:
    """What a stage that made an adapter says of its mask."""
    return MaskRecord(
        sha256=trained["mask_sha256"],
        nnz=sum(trained["layers"].values()),
        total=trained["entries"],
        layers=trained["layers"],
    )


def certificate_record(read: Read, certified: dict[str, Any], folder: Path) -> CertificateRecord:
    """What `certify` found, with the certificate that lies in its folder."""
    path = folder / CERTIFICATE
    return CertificateRecord(
        level=certified["level"],
        read=read,
        document=json.loads(path.read_text(encoding="utf-8")),
        sha256=certified["certificate_sha256"],
    )
