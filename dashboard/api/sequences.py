"""What was learned: sequences, tasks, versions, R and its cells."""

from typing import Annotated

from fastapi import APIRouter, Query

from dashboard.bodies import Name
from dashboard.figures import matrix_json
from dashboard.office import KnownSequence, Readable, VersionNumber
from lori_core.config import Read
from registry.records import (
    Cell,
    CertificateRecord,
    FiledVersion,
    MatrixCells,
    SequenceRecord,
    StageRun,
    TaskRecord,
)

Task = Annotated[Name, Query()]

router = APIRouter(prefix="/api/sequences", tags=["sequences"])


@router.get("")
def sequences(registry: Readable) -> tuple[str, ...]:
    """Names of all sequences."""
    return registry.sequences()


@router.get("/{sequence}")
def sequence(registry: Readable, sequence: KnownSequence) -> SequenceRecord:
    """One sequence."""
    return registry.sequence(sequence)


@router.get("/{sequence}/tasks")
def tasks(registry: Readable, sequence: KnownSequence) -> tuple[TaskRecord, ...]:
    """The declared tasks in order."""
    return registry.tasks(sequence)


@router.get("/{sequence}/stages")
def stages(registry: Readable, sequence: KnownSequence) -> tuple[StageRun, ...]:
    """Every attempt at every stage."""
    return registry.stages(sequence)


@router.get("/{sequence}/versions")
def versions(registry: Readable, sequence: KnownSequence) -> tuple[FiledVersion, ...]:
    """All versions in order, half-filed ones too: every key of `lori versions --json`, and more."""
    return registry.versions(sequence)


@router.get("/{sequence}/versions/{version}")
def version(registry: Readable, sequence: KnownSequence, version: VersionNumber) -> FiledVersion:
    """One version."""
    return registry.version(sequence, version)


@router.get("/{sequence}/versions/{version}/certificate")
def certificate(
    registry: Readable, sequence: KnownSequence, version: VersionNumber
) -> CertificateRecord:
    """The certificate of a version."""
    return registry.certificate(sequence, version)


@router.get("/{sequence}/versions/{version}/exports")
def exported(
    registry: Readable, sequence: KnownSequence, version: VersionNumber, task: Task, read: Read
) -> tuple[str, ...]:
    """The sha256 of every adapter file that was exported of a version's task."""
    return registry.exported(sequence, version, task, read)


@router.get("/{sequence}/cells")
def cells(registry: Readable, sequence: KnownSequence) -> tuple[Cell, ...]:
    """The current cell of every place of R and of the guards."""
    return registry.cells(sequence)


@router.get("/{sequence}/matrix")
def matrix(registry: Readable, sequence: KnownSequence, read: Read) -> dict[str, object]:
    """R under one read mode, with its six figures: the JSON of `lori matrix --json`."""
    return matrix_json(registry.matrix_cells(sequence, read))


@router.get("/{sequence}/matrix/cells")
def matrix_cells(registry: Readable, sequence: KnownSequence, read: Read) -> MatrixCells:
    """R under one read mode, with everything that is known of each cell."""
    return registry.matrix_cells(sequence, read)
