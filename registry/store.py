"""The one door to the registry: everything is written and read through `Registry`."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from lori_core.config import Read
from lori_core.errors import BadInput, LoriError
from lori_core.names import check_name
from registry import exports, filing, lineage
from registry.aliases import AliasStore
from registry.artifacts import ArtifactStore, checked_folder
from registry.bare_base import file_base
from registry.changes import refuse_changed_sequence, refuse_changed_task
from registry.clock import now
from registry.database import Database
from registry.fence import Fence, Guard, holder_name
from registry.fenced_stores import Allowed, FencedAliases, FencedArtifacts, FencedStockroom
from registry.home import find_home, prepare_home
from registry.inventory import Stockroom
from registry.lost import refuse_lost
from registry.models import Evaluation, Sequence, Stage, Task
from registry.moved_home import follow
from registry.records import (
    Cell,
    CertificateRecord,
    FiledVersion,
    Json,
    MaskRecord,
    MatrixCells,
    SequenceRecord,
    StageRun,
    TaskRecord,
    VersionRecord,
    VersionState,
)
from registry.settings import Settings, find_settings, switch_telemetry_off
from registry.warming import warmed


def open_registry(
    home: Path | None = None,
    *,
    artifacts: ArtifactStore | None = None,
    aliases: AliasStore | None = None,
) -> "Registry":
    """Open the registry of a home folder, making or upgrading it as needed.

    Several processes may open a fresh home at once. A home that was moved or copied points at itself
    again from here on (`registry.moved_home`). MLflow is not imported until a version is
    filed (or a remote one fetched).

    Args:
        home: the home folder; None finds it (`registry.home.find_home`).
        artifacts: where files go; None is MLflow as the settings say.
        aliases: where it stands what serves; None is MLflow as the settings say.

    Raises:
        BadInput: the home or store cannot be written or reached, is of a newer schema, or was lost.
    """
    home = prepare_home((home or find_home()).absolute())
    settings = find_settings(home)
    refuse_lost(settings)
    database = Database(settings.registry_url)
    try:
        database.prepare()
        follow(settings)
    except LoriError:
        database.close()
        raise
    return Registry(settings, database, artifacts, aliases)


def registry_exists(home: Path) -> bool:
    """Whether something was recorded for a home, or may have been (on a server). Makes nothing.

    Raises:
        BadInput: a URL of a kind we cannot use; something was recorded and is lost.
    """
    settings = find_settings(home.absolute())
    refuse_lost(settings)
    url = make_url(settings.registry_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


class Registry:
    """What exists, where it is, whom it descends from. All writes are idempotent."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        artifacts: ArtifactStore | None = None,
        aliases: AliasStore | None = None,
    ) -> None:
        """Use `open_registry`, which prepares what this takes."""
        self.settings = settings
        self._database = database
        self._given = artifacts
        self._store = artifacts
        self._aliases = aliases
        self._stockroom: Stockroom | None = None

    def fenced(self, fence: Fence) -> "Registry":
        """The same stores for the run that holds an arrival (`registry.arrivals.Arrivals.take`).

        Every write, to our own store or to MLflow, first asks whether it is still this run's turn, and
        raises `FenceLost` where it is not. It shares the connections of this registry: close that one.
        """
        allowed = Guard(fence, self._database)
        fenced = Registry(
            self.settings,
            self._database.guarded(allowed.in_transaction, holder_name(fence)),
            FencedArtifacts(cache(partial(self._store_that_asks, allowed)), allowed),
            FencedAliases(self.aliases, allowed),
        )
        fenced._stockroom = FencedStockroom(self.stockroom, allowed)
        return fenced

    def __enter__(self) -> Self:
        """Use as `with open_registry(home) as registry`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def refuse_lost(self) -> None:
        """Return if the store is still there. Raises Unavailable if it is not."""
        self._database.refuse_lost()

    # Sequences and tasks

    def declare_sequence(self, record: SequenceRecord) -> SequenceRecord:
        """Record a sequence, or check that what was learned of it has not changed.

        What may always change: `base_path` (the digest is the identity), `settings`, and the tasks
        after the learned ones. A task is learned once its version is filed or being filed.

        Raises:
            SequenceChanged: base, adapter settings, or the order of learned tasks is another.
        """
        for kind, name in (("sequence", record.name), *(("task", task) for task in record.tasks)):
            check_name(kind, name)
        with self._database.writing() as session:
            row = lineage.find_sequence(session, record.name)
            if row is None:
                row = Sequence(name=record.name, created=now())
                session.add(row)
            elif learned := len(row.versions):
                refuse_changed_sequence(row, record, learned)
            row.base_digest, row.base_path = record.base_digest, record.base_path
            row.base, row.adapter = dict(record.base), dict(record.adapter)
            row.settings = dict(record.settings)
            _forget_tasks_not_in(session, row, record.tasks)
        return record

    def refuse_changes(self, record: SequenceRecord, tasks: Iterable[TaskRecord]) -> None:
        """Check that what was learned of a sequence has not changed. Writes nothing.

        Raises:
            SequenceChanged: names the first part that has; `RowsChanged` if it is a task's rows.
        """
        with self._database.reading() as session:
            row = lineage.find_sequence(session, record.name)
            if row is None or not row.versions:
                return
            refuse_changed_sequence(row, record, len(row.versions))
            known = {task.position: task for task in row.tasks[: len(row.versions)]}
            for task in tasks:
                if task.position in known:
                    refuse_changed_task(record.name, known[task.position], task)

    def declare_task(self, sequence: str, record: TaskRecord) -> TaskRecord:
        """Record a task at its position, or check that a learned one has not changed.

        Raises:
            SequenceChanged: the task was learned under another name, config or data.
            BadInput: no such sequence; a position or name out of place.
        """
        check_name("task", record.name)
        with self._database.writing() as session:
            owner = lineage.known_sequence(session, sequence)
            row = next((task for task in owner.tasks if task.position == record.position), None)
            if row is not None and record.position <= len(owner.versions):
                refuse_changed_task(sequence, row, record)
                return record
            if any(t.name == record.name and t.position != record.position for t in owner.tasks):
                raise BadInput(
                    f"sequence {sequence!r}: task {record.name!r} at position {record.position}",
                    "each name once",
                    "Declare the sequence with its new order first.",
                )
            if row is None:
                row = Task(position=record.position, created=now())
                owner.tasks.append(row)
            row.name, row.config, row.data = record.name, dict(record.config), dict(record.data)
        return record

    def sequences(self) -> tuple[str, ...]:
        """Names of all sequences."""
        with self._database.reading() as session:
            return lineage.sequence_names(session)

    def sequence(self, name: str) -> SequenceRecord:
        """One sequence. Raises BadInput, naming the nearest, when there is none."""
        with self._database.reading() as session:
            return lineage.sequence_record(session, lineage.known_sequence(session, name))

    def find_sequence(self, name: str) -> SequenceRecord | None:
        """One sequence, or None."""
        with self._database.reading() as session:
            row = lineage.find_sequence(session, name)
            return None if row is None else lineage.sequence_record(session, row)

    def tasks(self, sequence: str) -> tuple[TaskRecord, ...]:
        """The declared tasks in order."""
        with self._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            return tuple(lineage.task_record(task) for task in owner.tasks)

    # Stages

    def stage_started(
        self,
        key: str,
        *,
        stage: str,
        sequence: str,
        task: str | None,
        pid: int | None = None,
        process_started: float | None = None,
    ) -> StageRun:
        """Record that a new attempt at a stage began.

        Attempts of the same key that still say `running` are of a killed run: they become failed.
        """
        with self._database.writing() as session:
            earlier = session.scalars(select(Stage).where(Stage.key == key)).all()
            for attempt in earlier:
                if attempt.state == "running":
                    attempt.state, attempt.finished = "failed", now()
            number = 1 + max((attempt.attempt for attempt in earlier), default=0)
            row = lineage.begin_attempt(session, key, number, stage, sequence, task)
            row.pid, row.process_started = pid, process_started
            session.flush()
            return lineage.stage_run(row)

    def stage_finished(
        self, key: str, *, failed: bool = False, detail: Json | None = None
    ) -> StageRun:
        """Record how the last attempt at a stage ended. Said twice, the first one stands.

        After a failure, finished says that the result was found: its child had died with it kept.
        That is an attempt of its own, and the failure stays.

        Raises:
            BadInput: no attempt at this stage was ever started.
        """
        with self._database.writing() as session:
            row = session.scalar(
                select(Stage).where(Stage.key == key).order_by(Stage.attempt.desc()).limit(1)
            )
            if row is None:
                raise BadInput(f"stage {key}", "a stage that was started")
            if row.state == "failed" and not failed:
                row = lineage.begin_attempt(
                    session, key, row.attempt + 1, row.stage, row.sequence, row.task
                )
            if row.state == "running":
                row.state = "failed" if failed else "finished"
                row.finished, row.detail = now(), dict(detail or {})
            return lineage.stage_run(row)

    def stages(self, sequence: str) -> tuple[StageRun, ...]:
        """Every attempt at every stage, in the order they began; empty for an unknown sequence."""
        with self._database.reading() as session:
            return lineage.stages_of(session, sequence)

    # Cells

    def known_cell(self, key: str) -> Cell | None:
        """A cell measured before under this key, at whatever place, or None.

        To use it elsewhere: `record_cell(dataclasses.replace(cell, sequence=..., version=..., ...))`.
        """
        with self._database.reading() as session:
            return lineage.find_cell(session, key)

    def record_cell(self, cell: Cell) -> Cell:
        """Record a cell at its place; the same key there a second time changes nothing.

        A cell with another key at the same place (a new metric version) becomes the current one.
        """
        with self._database.writing() as session:
            owner = lineage.known_sequence(session, cell.sequence)
            row = session.scalar(
                select(Evaluation).where(
                    Evaluation.key == cell.key,
                    Evaluation.sequence_id == owner.id,
                    Evaluation.version == cell.version,
                    Evaluation.task == cell.task,
                    Evaluation.read == cell.read,
                    Evaluation.adapter_of == (cell.adapter_of or ""),
                )
            )
            if row is None:
                row = _evaluation(owner, cell)
                session.add(row)
                session.flush()
            return lineage.cell_record(row, owner.name)

    def cells(self, sequence: str) -> tuple[Cell, ...]:
        """The current cell of every place of R and of the guards."""
        with self._database.reading() as session:
            return lineage.cells_of(session, sequence)

    def matrix_cells(self, sequence: str, read: Read) -> MatrixCells:
        """R under one read mode: rows from the base to the last version, a cell or None per task."""
        with self._database.reading() as session:
            return lineage.matrix_of(session, sequence, read)

    # Versions

    def file_version(
        self,
        record: VersionRecord,
        artifacts: Path,
        *,
        on_step: Callable[[VersionState], None] | None = None,
    ) -> FiledVersion:
        """File a version: our rows, an MLflow run, its files, a model version. Once, whatever happens.

        Six steps (reserve, start the run, upload, verify by reading back, create the model version,
        register), each recorded when it is done; called again after a crash it goes on where it was.

        Args:
            record: what the version is. Its earlier versions must be filed.
            artifacts: folder whose files (all of them, at any depth) belong to the version.
            on_step: told the state after each step is recorded.

        Raises:
            DigestMismatch: the version is filed with another adapter, or a file came back changed.
            SequenceChanged: the version was begun under other settings or data.
            BadInput: unknown sequence or task, an earlier version missing, nothing to file, no room.
        """
        clerk = filing.Clerk(self._database, self.settings, self._artifacts)
        return clerk.file(record, artifacts, on_step or (lambda state: None))

    def versions(self, sequence: str) -> tuple[FiledVersion, ...]:
        """All versions in order, half-filed ones too (see `state`)."""
        with self._database.reading() as session:
            return lineage.versions_of(session, sequence)

    def version(self, sequence: str, k: int) -> FiledVersion:
        """One version. Raises BadInput when there is none."""
        with self._database.reading() as session:
            return lineage.filed_version(lineage.version_row(session, sequence, k))

    def versions_with(self, adapter_sha256: str) -> tuple[FiledVersion, ...]:
        """Every version, of whatever sequence, that has this adapter: adapters are known by content."""
        with self._database.reading() as session:
            return lineage.versions_with(session, adapter_sha256)

    def mask(self, sequence: str, k: int) -> MaskRecord:
        """The write mask of the task learned at version k."""
        with self._database.reading() as session:
            return lineage.mask_record(lineage.version_row(session, sequence, k))

    def certificate(self, sequence: str, k: int) -> CertificateRecord:
        """The certificate of version k."""
        with self._database.reading() as session:
            return lineage.certificate_record(lineage.version_row(session, sequence, k).certificate)

    def artifact_path(self, sequence: str, k: int) -> Path:
        """The folder with the files of version k, every one checked against our digests.

        The folder is read-only by promise: copy what is to be changed.

        Raises:
            DigestMismatch: a file is changed, missing or added; names it.
            BadInput: no such version, or its files were never uploaded.
        """
        version = self.version(sequence, k)
        return checked_folder(version, self.settings.home, self._artifacts)

    def record_export(
        self, sequence: str, version: int, task: str, read: Read, sha256: str
    ) -> None:
        """Remember the digest of an adapter file that was written for a server to load."""
        with self._database.writing() as session:
            exports.record_export(session, sequence, version, task, read, sha256)

    def exported(self, sequence: str, version: int, task: str, read: Read) -> tuple[str, ...]:
        """The digests of the adapter files that were exported of a version's task."""
        with self._database.reading() as session:
            return exports.exported(session, sequence, version, task, read)

    def model_name(self, sequence: str) -> str:
        """The name of a sequence's registered model in MLflow."""
        return self.settings.model_name.format(sequence=sequence)

    def aliases(self) -> AliasStore:
        """The aliases and tags of MLflow's registered models."""
        if self._aliases is None:
            switch_telemetry_off()
            warmed()
            from registry.mlflow_aliases import MlflowAliases  # seconds, like the files

            self._aliases = MlflowAliases(self.settings)
        return self._aliases

    def stockroom(self) -> Stockroom:
        """Everything MLflow holds under a model's name, for the doctor."""
        if self._stockroom is None:
            switch_telemetry_off()
            warmed()
            from registry.mlflow_inventory import MlflowInventory  # seconds, like the files

            self._stockroom = MlflowInventory(self.settings)
        return self._stockroom

    def base_version(self, sequence: str) -> int:
        """MLflow's number of the version that serves the bare base, filed the first time it is asked for.

        An alias that points at it (a rollback to version 0) serves the base without any adapter.
        It is a version of the sequence's registered model like the others, and none of ours.

        Raises:
            BadInput: no version of the sequence is filed yet.
        """
        return file_base(self._database, self.settings, self._artifacts(), sequence)

    def _artifacts(self) -> ArtifactStore:
        if self._store is None:
            self._store = self._store_that_asks(lambda: None)
        return self._store

    def _store_that_asks(self, allowed: Allowed) -> ArtifactStore:
        """The artifact store we were given, or MLflow, which asks before each of its many writes."""
        if self._given is not None:
            return self._given
        switch_telemetry_off()
        warmed()
        from registry.mlflow_artifacts import MlflowArtifacts  # seconds; only to file or fetch

        return MlflowArtifacts(self.settings, allowed)


def _forget_tasks_not_in(session: Session, row: Sequence, names: tuple[str, ...]) -> None:
    place = {name: position for position, name in enumerate(names, start=1)}
    row.tasks = [task for task in row.tasks if place.get(task.name) == task.position]
    session.flush()


def _evaluation(owner: Sequence, cell: Cell) -> Evaluation:
    return Evaluation(
        key=cell.key,
        sequence_id=owner.id,
        version=cell.version,
        task=cell.task,
        read=cell.read,
        adapter_of=cell.adapter_of or "",
        value=cell.value,
        n=cell.n,
        low=cell.low,
        high=cell.high,
        metric=cell.metric,
        metric_version=cell.metric_version,
        parts=dict(cell.parts),
        base_digest=cell.base_digest,
        effective_digest=cell.effective_digest,
        test_digest=cell.test_digest,
        predictions=cell.predictions,
        predictions_sha256=cell.predictions_sha256,
        created=now(),
    )
