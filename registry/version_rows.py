"""The versions of a sequence in a few columns, without their files and certificates: one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.models import Adapter, Certificate, Mask, Version
from registry.records import CertificateLevel, VersionState


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version."""

    version: int
    task: str
    state: VersionState
    level: CertificateLevel
    read: Read
    """The mode its certificate is of."""
    certificate_sha256: str
    adapter_sha256: str
    mask_sha256: str
    nnz: int
    """Entries of B its task writes."""
    total: int
    layers: Mapping[str, int]
    """Layer name -> entries its task writes there."""
    artifact_uri: str | None
    created: datetime
    registered: datetime | None

    @property
    def filed(self) -> bool:
        """Whether it is filed whole."""
        return self.state == "registered"


def version_rows(session: Session, sequence_id: int) -> tuple[VersionRow, ...]:
    """Every version of a sequence in order, half-filed ones too."""
    rows = session.execute(
        select(
            *(Version.number, Version.task, Version.state, Version.artifact_uri),
            *(Version.created, Version.registered, Certificate.level, Certificate.read),
            *(Certificate.sha256, Adapter.sha256, Mask.sha256, Mask.nnz, Mask.total, Mask.layers),
        )
        .join(Certificate, Certificate.id == Version.certificate_id)
        .join(Adapter, Adapter.id == Version.adapter_id)
        .join(Mask, Mask.adapter_id == Adapter.id)
        .where(Version.sequence_id == sequence_id)
        .order_by(Version.number)
    )
    return tuple(
        VersionRow(
            version=number,
            task=task,
            state=cast(VersionState, state),
            level=cast(CertificateLevel, level),
            read=cast(Read, read),
            certificate_sha256=certificate,
            adapter_sha256=adapter,
            mask_sha256=mask,
            nnz=nnz,
            total=total,
            layers=cast(Mapping[str, int], layers),
            artifact_uri=uri,
            created=created,
            registered=registered,
        )
        for number, task, state, uri, created, registered, level, read, certificate, adapter,
        mask, nnz, total, layers in rows
    )  # fmt: skip
