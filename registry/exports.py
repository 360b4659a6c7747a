"""Adapter files written for servers to load: their digests, so that a confirmation can be matched."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry import lineage
from registry.clock import now
from registry.decision_models import ExportRow


def record_export(
    session: Session, sequence: str, version: int, task: str, read: Read, sha256: str
) -> None:
    """Remember the digest of an exported adapter file; the same one twice is kept once."""
    owner = lineage.version_row(session, sequence, version).sequence
    if sha256 in exported(session, sequence, version, task, read):
        return
    session.add(
        ExportRow(
            sequence_id=owner.id,
            number=version,
            task=task,
            read=read,
            sha256=sha256,
            created=now(),
        )
    )


def exported(
    session: Session, sequence: str, version: int, task: str, read: Read
) -> tuple[str, ...]:
    """The digests of the adapter files that were exported of a version's task, oldest first."""
    owner = lineage.known_sequence(session, sequence)
    return tuple(
        session.scalars(
            select(ExportRow.sha256)
            .where(
                ExportRow.sequence_id == owner.id,
                ExportRow.number == version,
                ExportRow.task == task,
                ExportRow.read == read,
            )
            .order_by(ExportRow.id)
        )
    )
