"""Filing a version: six steps, each recorded when it is done, so that any of them may be the last.

    reserved    our rows: adapter by content, mask, certificate, version; found again by its key
    started     the MLflow run, found again by its tag `key`
    uploaded    the files, as one MLflow model; found again by `key` and the manifest's digest
    verified    every file read back and its digest compared with our rows
    versioned   the model version, found again by its source
    registered  metrics logged, run ended: the version is filed

A step that died half-way is done again, and finds what it had begun.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lori_core.digests import sha256_json
from lori_core.errors import BadInput, CheckFailed, DigestMismatch, SequenceChanged
from registry import lineage
from registry.artifacts import (
    ArtifactStore,
    Filing,
    Upload,
    check_files,
    local_folder,
    stored_files,
)
from registry.clock import now
from registry.database import Database
from registry.home import writable
from registry.models import Adapter, Certificate, JsonDict, Mask, Note, Sequence, Version
from registry.records import (
    Cell,
    CertificateLevel,
    FiledVersion,
    StoredFile,
    VersionRecord,
    VersionState,
)
from registry.settings import Settings

STEPS: tuple[VersionState, ...] = (
    "reserved",
    "started",
    "uploaded",
    "verified",
    "versioned",
    "registered",
)

MANIFEST_SCHEMA = 2
"""1 named neither the version before nor the read mode."""


@dataclass(frozen=True, slots=True)
class Clerk:
    """Files versions: our rows first, then MLflow, then our rows again."""

    database: Database
    settings: Settings
    artifacts: Callable[[], ArtifactStore]

    def file(
        self, record: VersionRecord, folder: Path, on_step: Callable[[VersionState], None]
    ) -> FiledVersion:
        """See `Registry.file_version`, which is this."""
        files = stored_files(folder)
        name = f"{record.sequence}/{record.version}"
        with self.database.exclusive(f"file-{record.sequence}"):
            filing, row = self._reserve(record, files)
            if row.state == "registered":
                return row
            if row.state == "reserved":
                on_step("reserved")
            store = self.artifacts()
            if row.state == "reserved":
                row = self._record(filing, "started", run_id=store.start_run(filing))
                on_step("started")
            run_id = _set(row.run_id)
            if row.state == "started":
                row = self._record(filing, "uploaded", upload=store.upload(filing, run_id, folder))
                on_step("uploaded")
            if row.state == "uploaded":
                row = self._verified(name, filing, row, store, folder)
                on_step("verified")
            model_id = _set(row.model_id)
            if row.state == "verified":
                number = store.create_version(filing, run_id, model_id)
                row = self._record(filing, "versioned", model_version=number)
                on_step("versioned")
            store.finish_run(filing, run_id, {**record.metrics, **self._cell_metrics(record)})
            row = self._record(filing, "registered")
            on_step("registered")
            return row

    def _reserve(
        self, record: VersionRecord, files: tuple[StoredFile, ...]
    ) -> tuple[Filing, FiledVersion]:
        with self.database.writing() as session:
            owner = lineage.known_sequence(session, record.sequence)
            key = _key(session, owner, record)
            manifest = _manifest(session, owner, record, key, files)
            row = session.scalar(
                select(Version).where(
                    Version.sequence_id == owner.id, Version.number == record.version
                )
            )
            if row is None:
                row = Version(
                    sequence_id=owner.id,
                    number=record.version,
                    task=record.task,
                    idem_key=key,
                    created=now(),
                )
                _begin(session, owner, row, record, manifest)
            elif row.idem_key != key:
                raise SequenceChanged(
                    record.sequence, f"version {record.version}", row.idem_key[:16], key[:16]
                )
            elif row.state == "registered":
                _refuse_another_adapter(row, record)
            elif row.adapter.manifest_sha256 != sha256_json(manifest):
                _begin(session, owner, row, record, manifest)
            session.flush()
            return filing_of(row, self.settings, record.params), lineage.filed_version(row)

    def _verified(
        self, name: str, filing: Filing, row: FiledVersion, store: ArtifactStore, folder: Path
    ) -> FiledVersion:
        """Read every file back; an upload that was harmed (or cut off unseen) is made once more."""
        try:
            self._verify(name, row, store)
        except DigestMismatch:
            store.discard(_set(row.model_id))
            self._record(filing, "started")
            upload = store.upload(filing, _set(row.run_id), folder)
            row = self._record(filing, "uploaded", upload=upload)
            self._verify(name, row, store)
        return self._record(filing, "verified")

    def _verify(self, name: str, row: FiledVersion, store: ArtifactStore) -> None:
        uri = _set(row.artifact_uri)
        if folder := local_folder(uri, self.settings.home):
            check_files(name, folder, row.files)
            return
        with writable(self.settings.home), TemporaryDirectory(dir=self.settings.home) as fresh:
            store.fetch(uri, Path(fresh))
            check_files(name, Path(fresh), row.files)

    def _record(
        self,
        filing: Filing,
        state: VersionState,
        *,
        run_id: str | None = None,
        upload: Upload | None = None,
        model_version: int | None = None,
    ) -> FiledVersion:
        with self.database.writing() as session:
            row = lineage.version_row(session, filing.sequence, filing.version)
            row.state = state
            if run_id is not None:
                row.run_id = run_id
            if upload is not None:
                row.model_id, row.artifact_uri = upload.model_id, upload.artifact_uri
            if model_version is not None:
                row.model_name, row.model_version = filing.model_name, model_version
            if state == "registered":
                row.registered = now()
            return lineage.filed_version(row)

    def _cell_metrics(self, record: VersionRecord) -> dict[str, float]:
        with self.database.reading() as session:
            cells = lineage.cells_of(session, record.sequence, version=record.version)
        return {_metric(cell): cell.value for cell in cells}


def filing_of(row: Version, settings: Settings, params: Mapping[str, str]) -> Filing:
    """What an artifact store is told about a version that is reserved."""
    adapter = {f"adapter.{name}": str(value) for name, value in row.sequence.adapter.items()}
    return Filing(
        key=row.idem_key,
        sequence=row.sequence.name,
        version=row.number,
        task=row.task,
        adapter_sha256=row.adapter.sha256,
        mask_sha256=row.adapter.mask.sha256,
        certificate=cast(CertificateLevel, row.certificate.level),
        manifest=row.adapter.manifest,
        manifest_sha256=row.adapter.manifest_sha256,
        model_name=settings.model_name.format(sequence=row.sequence.name),
        params={**adapter, **params},
        begun=row.created,
    )


def _metric(cell: Cell) -> str:
    if cell.adapter_of is None:
        return f"R/{cell.read}/{cell.task}"
    return f"guard/{cell.read}/{cell.task}/under/{cell.adapter_of}"


def _key(session: Session, owner: Sequence, record: VersionRecord) -> str:
    """The digest of everything that determines the adapter: base, settings, tasks so far."""
    tasks = [task for task in owner.tasks if task.position <= record.version]
    here = next((task for task in tasks if task.position == record.version), None)
    name = f"version {record.sequence}/{record.version}"
    if here is None or here.name != record.task:
        declared = "no task" if here is None else f"task {here.name!r}"
        raise BadInput(
            f"{name} of task {record.task!r}",
            f"the task declared at position {record.version} ({declared})",
            "Declare the task before its version is filed.",
        )
    if record.version > 1:
        of_owner = Version.sequence_id == owner.id
        filed = set(
            session.scalars(select(Version.number).where(of_owner, Version.state == "registered"))
        )
        for earlier in range(1, record.version):
            if earlier not in filed:
                raise BadInput(
                    name, f"version {earlier} to be filed before it", "Versions leave no gap."
                )
    return sha256_json(
        {
            "sequence": owner.name,
            "version": record.version,
            "base": {"digest": owner.base_digest, **owner.base},
            "adapter": owner.adapter,
            "tasks": [{"name": t.name, "config": t.config, "data": t.data} for t in tasks],
        }
    )


def _manifest(
    session: Session,
    owner: Sequence,
    record: VersionRecord,
    key: str,
    files: tuple[StoredFile, ...],
) -> JsonDict:
    return {
        "schema": MANIFEST_SCHEMA,
        "key": key,
        "sequence": record.sequence,
        "version": record.version,
        "task": record.task,
        "read": record.certificate.read,
        "max_length": _max_length(owner, record.version),
        "parent": _parent(session, owner, record.version),
        "base": {"digest": owner.base_digest, "path": owner.base_path, **owner.base},
        "adapter_sha256": record.adapter_sha256,
        "mask_sha256": record.mask.sha256,
        "certificate_sha256": record.certificate.sha256,
        "files": {file.path: {"sha256": file.sha256, "size": file.size} for file in files},
    }


def _parent(session: Session, owner: Sequence, number: int) -> str | None:
    """The manifest of the version before, which names the one before it: what tasks read of them."""
    return session.scalar(
        select(Adapter.manifest_sha256)
        .join(Version, Version.adapter_id == Adapter.id)
        .where(Version.sequence_id == owner.id, Version.number == number - 1)
    )


def _max_length(owner: Sequence, position: int) -> int | None:
    """How many tokens of a text the task was taught to read."""
    config = next(task.config for task in owner.tasks if task.position == position)
    training = config.get("training")
    length = training.get("max_length") if isinstance(training, dict) else None
    return length if isinstance(length, int) else None


def _begin(
    session: Session, owner: Sequence, row: Version, record: VersionRecord, manifest: JsonDict
) -> None:
    """Set a version (new, or begun with other files) to its first step."""
    row.adapter = _adapter(session, record, manifest)
    row.certificate = _certificate(session, owner, record)
    row.state, row.run_id, row.model_id = "reserved", None, None
    row.model_name, row.model_version, row.artifact_uri = None, None, None
    session.add(row)
    if record.notes:
        session.flush()
        session.execute(delete(Note).where(Note.version_id == row.id))
        session.add(Note(version_id=row.id, noted=dict(record.notes), created=now()))


def _adapter(session: Session, record: VersionRecord, manifest: JsonDict) -> Adapter:
    digest = sha256_json(manifest)
    found = session.scalar(
        select(Adapter).where(
            Adapter.sha256 == record.adapter_sha256, Adapter.manifest_sha256 == digest
        )
    )
    if found is not None:
        return found
    files = manifest["files"]
    assert isinstance(files, dict)
    row = Adapter(
        sha256=record.adapter_sha256,
        manifest_sha256=digest,
        manifest=manifest,
        size=sum(file["size"] for file in files.values()),
        created=now(),
        mask=Mask(
            sha256=record.mask.sha256,
            nnz=record.mask.nnz,
            total=record.mask.total,
            layers=dict(record.mask.layers),
        ),
    )
    session.add(row)
    return row


def _certificate(session: Session, owner: Sequence, record: VersionRecord) -> Certificate:
    found = session.scalar(
        select(Certificate).where(
            Certificate.sequence_id == owner.id,
            Certificate.number == record.version,
            Certificate.sha256 == record.certificate.sha256,
        )
    )
    if found is not None:
        return found
    row = Certificate(
        sequence_id=owner.id,
        number=record.version,
        level=record.certificate.level,
        read=record.certificate.read,
        document=dict(record.certificate.document),
        sha256=record.certificate.sha256,
        created=now(),
    )
    session.add(row)
    return row


def _refuse_another_adapter(row: Version, record: VersionRecord) -> None:
    if row.adapter.sha256 != record.adapter_sha256:
        raise DigestMismatch(
            f"{record.sequence}/{record.version}: the adapter of task {record.task!r}",
            row.adapter.sha256,
            record.adapter_sha256,
        )


def _set(value: str | None) -> str:
    if value is None:
        raise CheckFailed("filing", "a recorded step left no id behind; the store was edited")
    return value
