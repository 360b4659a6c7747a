"""What the registry is told about a version, out of the results of its stages."""

import json
from pathlib import Path
from typing import Any

from flows.plan import Plan
from lori_core.config import Read, task_sparsity
from registry.records import CertificateRecord, MaskRecord, VersionRecord

CERTIFICATE = "version/certificate.json"


def version_record(
    plan: Plan, position: int, trained: dict[str, Any], certified: dict[str, Any], home: Path
) -> VersionRecord:
    """The record of the version that the task at `position` becomes."""
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
    )


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
