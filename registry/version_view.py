"""Everything a page about one version shows, read in a number of statements that does not grow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from lori_core.config import Read
from lori_core.errors import CheckFailed
from registry import decided, lineage
from registry.comparing import cells_at
from registry.covering import covers
from registry.decision_models import ExportRow
from registry.decisions import BARE_BASE, Alias
from registry.models import Adapter, Evaluation, Note, Sequence, Task, Version
from registry.records import CertificateLevel, Json, MaskRecord, StoredFile, VersionState
from registry.store import Registry
from registry.succession import KEY
from registry.version_changes import TaskChange, VersionChanges, changes_of, task_change
from registry.version_files import files_of
from registry.version_notes import DataAudit, Losses, read_notes
from registry.version_safety import SafetyOfTask, safety_of

ALIASES: tuple[Alias, ...] = get_args(Alias)
READS: tuple[Read, ...] = get_args(Read)

EXPORTS = 25
"""Exports that are listed, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What the task was learned from and is measured on."""

    digests: Mapping[str, str]
    """Role -> sha256 of its rows."""
    audit: DataAudit | None
    """None: it was filed before audits were remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decided the adapter, as it was declared."""

    task: Json
    training: Json
    adapter: Json
    """Of the whole sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """The losses; None where nobody remembers them."""

    calibration: Losses | None
    training: Losses | None
    calibrates: bool
    """Whether its method has a calibration at all: plain LoRA has none."""
    adopted: bool
    """It was trained elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMask:
    """One matrix B."""

    layer: str
    block: str
    """Number of its block (`7`), or "" outside of any."""
    projection: str
    """Its place within the block (`self_attn.q_proj`)."""
    owned: int
    """Entries this task may write."""
    entries: int | None
    """All of them; None where nobody remembers its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskView:
    """Where in the base the task may write."""

    sha256: str
    owned: int
    entries: int
    layers: tuple[LayerMask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateView:
    """What proves what did not change; the document itself is a download."""

    level: CertificateLevel
    read: Read
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An adapter that was written for a server to load."""

    task: str
    read: Read
    sha256: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Where MLflow has it. None where filing did not come that far."""

    run_id: str | None
    model_name: str | None
    model_version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One version."""

    sequence: str
    version: int
    task: str
    state: VersionState
    supersedes: str | None
    last: int
    """The newest version of the sequence."""
    serves_as: tuple[Alias, ...]
    serves_why: str | None
    """Why it cannot be told what it serves as."""
    base_path: str
    base_digest: str
    created: datetime
    registered: datetime | None
    read: Read
    """The mode that scores are shown under."""
    trained: Read
    reads: tuple[Read, ...]
    """Modes measured at this version."""
    learned: tuple[str, ...]
    """Tasks learned by it, in order."""
    certificate: CertificateView
    data: Data
    settings: Settings
    learning: Learning
    mask: MaskView
    own: TaskChange
    """Its own task, against the bare base."""
    changes: VersionChanges
    """The tasks before it, against the version before."""
    safety: tuple[SafetyOfTask, ...]
    """Empty where no task is scored by `refusal`."""
    adapter_sha256: str
    manifest_sha256: str
    artifact_uri: str | None
    files: tuple[StoredFile, ...]
    size: int
    """Bytes of all of them."""
    exports: tuple[Export, ...]
    """The newest first."""
    recorded: Recorded


def version_view(
    registry: Registry, sequence: str, version: int, *, read: Read | None = None, page: int = 1
) -> VersionView:
    """One version, as a page shows it.

    Args:
        registry: where it is filed.
        sequence: its name.
        version: its number.
        read: the mode that scores are shown under; None is the one the sequence is trained under.
        page: of the earlier tasks, from 1.

    Raises:
        NotFound: there is no such sequence or version.
    """
    home = registry.settings.home
    with registry._database.reading() as session:
        row = _row(session, sequence, version)
        owner = row.sequence
        trained = cast(Read, owner.adapter.get("read", "inherited"))
        mode = read or trained
        position = _positions(session, owner)
        earlier = tuple(name for name, place in position.items() if place < version)
        own = session.scalars(
            select(Task).where(Task.sequence_id == owner.id, Task.position == version)
        ).one()
        noted = session.scalar(select(Note.noted).where(Note.version_id == row.id))
        last = session.scalar(
            select(func.max(Version.number)).where(Version.sequence_id == owner.id)
        )
        base = cells_at(session, owner.id, BARE_BASE, mode, [own.name])
        before, after = (cells_at(session, owner.id, k, mode) for k in (version - 1, version))
        aliases, why = serving_as(session, owner)
        safety = safety_of(session, owner.id, version, position, read=mode, trained=trained)
        reads = _measured(session, owner, version)
        exports = _exports(session, owner, version)
        filed, mask = lineage.filed_version(row), lineage.mask_record(row)
        task = lineage.task_record(own)
    notes, files = read_notes(noted), files_of(filed, home)
    covered = covers(row.certificate.level, row.certificate.read, mode)
    changes = changes_of(
        home, sequence, version, earlier, before, after, covered=covered, page=page
    )
    return VersionView(
        sequence=sequence,
        version=version,
        task=filed.task,
        state=filed.state,
        supersedes=cast(str | None, task.config.get(KEY)),
        last=last or version,
        serves_as=tuple(alias for alias in ALIASES if aliases.get(alias) == version),
        serves_why=why,
        base_path=owner.base_path,
        base_digest=owner.base_digest,
        created=filed.created,
        registered=filed.registered,
        read=mode,
        trained=trained,
        reads=reads,
        learned=(*earlier, filed.task),
        certificate=CertificateView(
            level=filed.certificate,
            read=cast(Read, row.certificate.read),
            sha256=row.certificate.sha256,
        ),
        data=Data(digests=cast(Mapping[str, str], task.data), audit=notes.audit),
        settings=_settings(task.config, owner.adapter),
        learning=Learning(
            calibration=notes.calibration,
            training=notes.training or files.training(),
            calibrates=owner.adapter.get("method", "lori") == "lori",
            adopted="adopted" in task.config,
        ),
        mask=_mask(mask, notes.sizes or files.sizes(mask.total)),
        own=task_change(home, sequence, filed.task, 0, version, base, after, covered=False),
        changes=changes,
        safety=safety,
        adapter_sha256=filed.adapter_sha256,
        manifest_sha256=filed.manifest_sha256,
        artifact_uri=filed.artifact_uri,
        files=filed.files,
        size=filed.size,
        exports=exports,
        recorded=Recorded(
            run_id=filed.run_id, model_name=filed.model_name, model_version=filed.model_version
        ),
    )


def serving_as(session: Session, owner: Sequence) -> tuple[dict[Alias, int], str | None]:
    """Alias -> the version it points at; and why that cannot be told, where the log was edited."""
    found: dict[Alias, int] = {}
    try:
        for alias in ALIASES:
            version = decided.serving(session, owner, alias)
            if version is not None:
                found[alias] = version
    except CheckFailed as error:
        logged = decided.serving_by_log(session, owner, "champion")
        return {}, f"{decided.shown_version(logged)}, by the log alone: {error}"
    return found, None


def _row(session: Session, sequence: str, version: int) -> Version:
    row = lineage.version_row(session, sequence, version)
    whole = (
        joinedload(Version.sequence),
        joinedload(Version.certificate),
        joinedload(Version.adapter).joinedload(Adapter.mask),
    )
    return session.scalars(select(Version).where(Version.id == row.id).options(*whole)).one()


def _positions(session: Session, owner: Sequence) -> dict[str, int]:
    rows = session.execute(
        select(Task.name, Task.position).where(Task.sequence_id == owner.id).order_by(Task.position)
    )
    return {row.name: row.position for row in rows}


def _measured(session: Session, owner: Sequence, version: int) -> tuple[Read, ...]:
    found = set(
        session.scalars(
            select(Evaluation.read)
            .where(
                Evaluation.sequence_id == owner.id,
                Evaluation.version == version,
                Evaluation.adapter_of == "",
            )
            .distinct()
        )
    )
    return tuple(mode for mode in READS if mode in found)


def _exports(session: Session, owner: Sequence, version: int) -> tuple[Export, ...]:
    rows = session.scalars(
        select(ExportRow)
        .where(ExportRow.sequence_id == owner.id, ExportRow.number == version)
        .order_by(ExportRow.id.desc())
        .limit(EXPORTS)
    )
    return tuple(
        Export(task=row.task, read=cast(Read, row.read), sha256=row.sha256, created=row.created)
        for row in rows
    )


def _settings(task: Json, adapter: Json) -> Settings:
    training = task.get("training")
    return Settings(
        task={
            key: value for key, value in task.items() if key not in ("name", "training", "adopted")
        },
        training=training if isinstance(training, Mapping) else {},
        adapter=dict(adapter),
    )


def _mask(mask: MaskRecord, sizes: Mapping[str, int]) -> MaskView:
    return MaskView(
        sha256=mask.sha256,
        owned=mask.nnz,
        entries=mask.total,
        layers=tuple(
            LayerMask(layer=layer, owned=owned, entries=sizes.get(layer), **_place(layer))
            for layer, owned in mask.layers.items()
        ),
    )


def _place(layer: str) -> dict[str, str]:
    """`model.layers.7.self_attn.q_proj` is `self_attn.q_proj` of block 7."""
    parts = layer.split(".")
    number = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    if number is None:
        return {"block": "", "projection": layer}
    return {"block": parts[number], "projection": ".".join(parts[number + 1 :]) or layer}
