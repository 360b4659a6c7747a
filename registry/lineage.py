"""The read side: rows in, frozen records out. Every function takes an open session."""

import difflib
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lori_core.config import Read
from lori_core.errors import NotFound
from lori_core.names import NAME
from registry.clock import now
from registry.covering import covered_versions
from registry.models import Adapter, Certificate, Evaluation, Mask, Sequence, Stage, Task, Version
from registry.plain import LARGEST
from registry.records import (
    Cell,
    CertificateLevel,
    CertificateRecord,
    FiledVersion,
    MaskRecord,
    MatrixCells,
    MatrixRow,
    SequenceRecord,
    StageRun,
    StageState,
    StoredFile,
    TaskRecord,
    VersionState,
)

_OF_A_FILED_VERSION = (
    joinedload(Version.sequence).load_only(Sequence.name),
    joinedload(Version.certificate).load_only(Certificate.level),
    joinedload(Version.adapter).joinedload(Adapter.mask).load_only(Mask.sha256),
)
"""What `filed_version` asks of other tables: not their settings and layers, which may be long."""


def sequence_names(session: Session) -> tuple[str, ...]:
    """Every sequence, by name."""
    return tuple(session.scalars(select(Sequence.name).order_by(Sequence.name)))


def find_sequence(session: Session, name: str) -> Sequence | None:
    """The row of a sequence, for this room's own use."""
    if NAME.fullmatch(name) is None:  # no row has it, and not every text can be asked for
        return None
    return session.scalar(select(Sequence).where(Sequence.name == name))


def known_sequence(session: Session, name: str) -> Sequence:
    """The row of a sequence that must exist.

    Raises:
        NotFound: there is none; names the nearest.
    """
    if found := find_sequence(session, name):
        return found
    names = sequence_names(session)
    nearest = difflib.get_close_matches(name, names, n=1)
    raise NotFound(
        f"sequence {name!r}",
        f"one of {', '.join(names)}" if names else "a sequence that was learned here",
        f"Did you mean `{nearest[0]}`?" if nearest else "`lori run FILE` learns one.",
    )


def sequence_record(session: Session, row: Sequence) -> SequenceRecord:
    """A sequence with the names of its tasks."""
    names = select(Task.name).where(Task.sequence_id == row.id).order_by(Task.position)
    return SequenceRecord(
        name=row.name,
        base_digest=row.base_digest,
        base_path=row.base_path,
        base=row.base,
        adapter=row.adapter,
        settings=row.settings,
        tasks=tuple(session.scalars(names)),
    )


def task_record(row: Task) -> TaskRecord:
    """A task at its position."""
    return TaskRecord(position=row.position, name=row.name, config=row.config, data=row.data)


def version_row(session: Session, sequence: str, number: int) -> Version:
    """The row of a version that must exist, whatever its state.

    Raises:
        NotFound: there is no such sequence or version.
    """
    owner = known_sequence(session, sequence)
    found = (
        session.scalar(
            select(Version).where(Version.sequence_id == owner.id, Version.number == number)
        )
        if 0 < number <= LARGEST  # a driver's own complaint about larger ones is no sentence
        else None
    )
    if found is None:
        last = len(owner.versions)
        raise NotFound(
            f"version {sequence}/{number if abs(number) <= LARGEST else '…'}",
            f"a version from 1 to {last}" if last else "a sequence with a filed version",
            f"`lori versions {sequence}` lists them.",
        )
    return found


def versions_of(session: Session, sequence: str) -> tuple[FiledVersion, ...]:
    """All versions of a sequence in order, half-filed ones too (see `state`)."""
    owner = known_sequence(session, sequence)
    rows = session.scalars(
        select(Version)
        .where(Version.sequence_id == owner.id)
        .order_by(Version.number)
        .options(*_OF_A_FILED_VERSION)
    )
    return tuple(filed_version(row) for row in rows)


def versions_with(session: Session, adapter_sha256: str) -> tuple[FiledVersion, ...]:
    """Every version, of whatever sequence, that has this adapter."""
    rows = session.scalars(
        select(Version)
        .join(Version.adapter)
        .where(Adapter.sha256 == adapter_sha256)
        .order_by(Version.id)
        .options(*_OF_A_FILED_VERSION)
    )
    return tuple(filed_version(row) for row in rows)


def filed_version(row: Version) -> FiledVersion:
    """A version with its adapter, mask and certificate."""
    return FiledVersion(
        sequence=row.sequence.name,
        version=row.number,
        task=row.task,
        state=cast(VersionState, row.state),
        idem_key=row.idem_key,
        adapter_sha256=row.adapter.sha256,
        mask_sha256=row.adapter.mask.sha256,
        manifest_sha256=row.adapter.manifest_sha256,
        certificate=cast(CertificateLevel, row.certificate.level),
        run_id=row.run_id,
        model_id=row.model_id,
        model_name=row.model_name,
        model_version=row.model_version,
        artifact_uri=row.artifact_uri,
        size=row.adapter.size,
        files=stored_files(row.adapter),
        created=row.created,
        registered=row.registered,
    )


def stored_files(row: Adapter) -> tuple[StoredFile, ...]:
    """The files of an adapter as its manifest lists them."""
    files = cast(dict[str, dict[str, object]], row.manifest["files"])
    return tuple(
        StoredFile(path=path, sha256=cast(str, file["sha256"]), size=cast(int, file["size"]))
        for path, file in sorted(files.items())
    )


def mask_record(row: Version) -> MaskRecord:
    """The write mask of a version's task."""
    mask = row.adapter.mask
    layers = cast(dict[str, int], mask.layers)
    return MaskRecord(sha256=mask.sha256, nnz=mask.nnz, total=mask.total, layers=layers)


def certificate_record(row: Certificate) -> CertificateRecord:
    """A certificate as it was filed."""
    return CertificateRecord(
        level=cast(CertificateLevel, row.level),
        read=cast(Read, row.read),
        document=row.document,
        sha256=row.sha256,
    )


def cells_of(session: Session, sequence: str, *, version: int | None = None) -> tuple[Cell, ...]:
    """The current cell of every place of R and of the guards, by version, task order and read.

    Args:
        session: an open one.
        sequence: its name.
        version: the one row of R that is wanted; None is all of it.
    """
    owner = known_sequence(session, sequence)
    position = {task.name: task.position for task in owner.tasks}
    newest: dict[tuple[int, str, str, str], Evaluation] = {}
    wanted = select(Evaluation).where(Evaluation.sequence_id == owner.id)
    if version is not None:
        wanted = wanted.where(Evaluation.version == version)
    for row in session.scalars(wanted.order_by(Evaluation.id)):
        newest[row.version, row.task, row.read, row.adapter_of] = row
    ordered = sorted(
        newest.values(),
        key=lambda row: (row.version, position.get(row.task, 0), row.read, row.adapter_of),
    )
    return tuple(cell_record(row, owner.name) for row in ordered)


def find_cell(session: Session, key: str) -> Cell | None:
    """Any measured cell with this key: equal keys mean an equal score, wherever it was measured."""
    row = session.scalar(
        select(Evaluation)
        .where(Evaluation.key == key)
        .order_by(Evaluation.id)
        .limit(1)
        .options(joinedload(Evaluation.sequence))
    )
    return None if row is None else cell_record(row, row.sequence.name)


def cell_record(row: Evaluation, sequence: str) -> Cell:
    """A cell at its place."""
    return Cell(
        key=row.key,
        sequence=sequence,
        version=row.version,
        task=row.task,
        read=cast(Read, row.read),
        adapter_of=row.adapter_of or None,
        value=row.value,
        n=row.n,
        low=row.low,
        high=row.high,
        metric=row.metric,
        metric_version=row.metric_version,
        parts=row.parts,
        base_digest=row.base_digest,
        effective_digest=row.effective_digest,
        test_digest=row.test_digest,
        predictions=row.predictions,
        predictions_sha256=row.predictions_sha256,
        created=row.created,
    )


def matrix_of(session: Session, sequence: str, read: Read) -> MatrixCells:
    """R under one read mode, from row 0 to the last version that is filed or measured.

    The base has no adapter to read, so row 0 takes a cell of another read mode where its own is
    not recorded. Guards under another task's adapter are no part of R.
    """
    owner = known_sequence(session, sequence)
    tasks = tuple(task.name for task in owner.tasks)
    found: dict[tuple[int, str], Cell] = {}
    for cell in cells_of(session, sequence):
        place = (cell.version, cell.task)
        if cell.adapter_of not in {None, cell.task}:
            continue
        if cell.read == read or (cell.version == 0 and place not in found):
            found[place] = cell
    last = max(
        [version.number for version in owner.versions] + [version for version, _ in found] + [0]
    )
    rows = tuple(
        MatrixRow(
            version=version,
            task=tasks[version - 1] if version else None,
            cells=tuple(found.get((version, task)) for task in tasks),
        )
        for version in range(min(last, len(tasks)) + 1)
    )
    certified = session.execute(
        select(Version.number, Certificate.level, Certificate.read)
        .join(Certificate, Version.certificate_id == Certificate.id)
        .where(Version.sequence_id == owner.id)
    )
    covered = covered_versions(((number, level, under) for number, level, under in certified), read)
    return MatrixCells(
        sequence=sequence, read=read, tasks=tasks, rows=rows, covered=tuple(sorted(covered))
    )


def stages_of(session: Session, sequence: str) -> tuple[StageRun, ...]:
    """Every attempt at every stage of a sequence, in the order they began."""
    rows = session.scalars(select(Stage).where(Stage.sequence == sequence).order_by(Stage.id))
    return tuple(stage_run(row) for row in rows)


def stage_run(row: Stage) -> StageRun:
    """One attempt at one stage."""
    return StageRun(
        key=row.key,
        stage=row.stage,
        sequence=row.sequence,
        task=row.task,
        attempt=row.attempt,
        state=cast(StageState, row.state),
        pid=row.pid,
        process_started=row.process_started,
        started=row.started,
        finished=row.finished,
        detail=row.detail,
    )


def begin_attempt(
    session: Session, key: str, number: int, stage: str, sequence: str, task: str | None
) -> Stage:
    """One more attempt at a stage, begun now."""
    made = Stage(
        key=key,
        stage=stage,
        sequence=sequence,
        task=task,
        attempt=number,
        state="running",
        started=now(),
        detail={},
    )
    session.add(made)
    return made
