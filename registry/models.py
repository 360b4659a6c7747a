"""The tables. Everything here stays inside this room; `lineage.py` turns rows into records."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

import registry.access_models
import registry.arrival_models
import registry.decision_models  # noqa: F401  their tables are in the same metadata
from registry.tables import NAME, SHA
from registry.tables import JsonDict as JsonDict
from registry.tables import Table as Table
from registry.tables import UtcDateTime as UtcDateTime


class Sequence(Table):
    """One base and its tasks in order."""

    __tablename__ = "sequences"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    base_digest: Mapped[str] = mapped_column(String(128))
    base_path: Mapped[str] = mapped_column(String(4096))
    base: Mapped[JsonDict]
    adapter: Mapped[JsonDict]
    settings: Mapped[JsonDict]
    created: Mapped[datetime]

    tasks: Mapped[list["Task"]] = relationship(
        order_by="Task.position", back_populates="sequence", cascade="all, delete-orphan"
    )
    versions: Mapped[list["Version"]] = relationship(
        order_by="Version.number", back_populates="sequence"
    )


class Task(Table):
    """One task of a sequence, at its position."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("sequence_id", "position"),
        UniqueConstraint("sequence_id", "name"),
        CheckConstraint("position >= 1", name="position"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(NAME)
    config: Mapped[JsonDict]
    data: Mapped[JsonDict]
    created: Mapped[datetime]

    sequence: Mapped[Sequence] = relationship(back_populates="tasks")


class Adapter(Table):
    """One set of files, by content."""

    __tablename__ = "adapters"
    __table_args__ = (UniqueConstraint("sha256", "manifest_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(SHA)
    manifest_sha256: Mapped[str] = mapped_column(SHA)
    manifest: Mapped[JsonDict]
    size: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime]

    mask: Mapped["Mask"] = relationship(back_populates="adapter", cascade="all, delete-orphan")


class Mask(Table):
    """The write mask of an adapter."""

    __tablename__ = "masks"
    __table_args__ = (CheckConstraint("nnz >= 0 AND nnz <= total", name="nnz"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), unique=True)
    sha256: Mapped[str] = mapped_column(SHA, index=True)
    nnz: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    layers: Mapped[JsonDict]

    adapter: Mapped[Adapter] = relationship(back_populates="mask")


class Certificate(Table):
    """What proves what did not change at a version."""

    __tablename__ = "certificates"
    __table_args__ = (
        UniqueConstraint("sequence_id", "number", "sha256"),
        CheckConstraint("level IN ('G0', 'G1', 'G2')", name="level"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    number: Mapped[int]
    level: Mapped[str] = mapped_column(String(8))
    read: Mapped[str] = mapped_column(String(16))
    document: Mapped[JsonDict] = mapped_column(deferred=True)  # tells of every task: read at need
    sha256: Mapped[str] = mapped_column(SHA)
    created: Mapped[datetime]


class Version(Table):
    """One version, reserved first and filed in six steps. References to MLflow are soft."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("sequence_id", "number"),
        Index(
            "ix_versions_model", "model_name", "model_version"
        ),  # MLflow's numbers can be re-used
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint(
            "state IN ('reserved', 'started', 'uploaded', 'verified', 'versioned', 'registered')",
            name="state",
        ),
        CheckConstraint(
            "state <> 'registered' OR (run_id IS NOT NULL AND model_id IS NOT NULL"
            " AND model_version IS NOT NULL AND artifact_uri IS NOT NULL)",
            name="registered",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    number: Mapped[int]
    task: Mapped[str] = mapped_column(NAME)
    state: Mapped[str] = mapped_column(String(16))
    idem_key: Mapped[str] = mapped_column(SHA, unique=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    certificate_id: Mapped[int] = mapped_column(ForeignKey("certificates.id"))
    run_id: Mapped[str | None] = mapped_column(String(64))
    model_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    model_name: Mapped[str | None] = mapped_column(String(256))
    model_version: Mapped[int | None] = mapped_column(Integer)
    artifact_uri: Mapped[str | None] = mapped_column(String(4096))
    created: Mapped[datetime]
    registered: Mapped[datetime | None]

    sequence: Mapped[Sequence] = relationship(back_populates="versions")
    adapter: Mapped[Adapter] = relationship()
    certificate: Mapped[Certificate] = relationship()


class Note(Table):
    """How a version was learned (`registry.version_notes`). Versions filed before 0006 have none."""

    __tablename__ = "version_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), unique=True)
    noted: Mapped[JsonDict]
    created: Mapped[datetime]

    version: Mapped[Version] = relationship()


class Evaluation(Table):
    """One measured cell of R or of the guards, at its place. Newer rows of a place replace older ones."""

    __tablename__ = "evaluations"
    __table_args__ = (
        UniqueConstraint("key", "sequence_id", "version", "task", "read", "adapter_of"),
        CheckConstraint("version >= 0", name="version"),
        CheckConstraint("n >= 0", name="n"),
        Index("ix_evaluations_place", "sequence_id", "read", "version"),
        Index("ix_evaluations_column", "sequence_id", "task", "read", "adapter_of", "version"),
        Index("ix_evaluations_test", "test_digest", "adapter_of"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    version: Mapped[int]
    task: Mapped[str] = mapped_column(NAME)
    read: Mapped[str] = mapped_column(String(16))
    adapter_of: Mapped[str] = mapped_column(NAME)  # "" in R itself: NULLs are never equal
    value: Mapped[float] = mapped_column(Float(53))
    n: Mapped[int]
    low: Mapped[float] = mapped_column(Float(53))
    high: Mapped[float] = mapped_column(Float(53))
    metric: Mapped[str] = mapped_column(String(256))
    metric_version: Mapped[str] = mapped_column(String(128))
    parts: Mapped[JsonDict]
    base_digest: Mapped[str] = mapped_column(String(128))
    effective_digest: Mapped[str | None] = mapped_column(String(128))
    test_digest: Mapped[str] = mapped_column(String(128))
    predictions: Mapped[str | None] = mapped_column(String(4096))
    predictions_sha256: Mapped[str | None] = mapped_column(SHA)
    created: Mapped[datetime]

    sequence: Mapped[Sequence] = relationship()


class Stage(Table):
    """One attempt at one stage of a run."""

    __tablename__ = "stage_runs"
    __table_args__ = (
        UniqueConstraint("key", "attempt"),
        CheckConstraint("state IN ('running', 'finished', 'failed')", name="state"),
        Index("ix_stage_runs_sequence", "sequence"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    stage: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[str] = mapped_column(NAME)
    task: Mapped[str | None] = mapped_column(NAME)
    attempt: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    pid: Mapped[int | None] = mapped_column(BigInteger)
    process_started: Mapped[float | None] = mapped_column(Float(53))
    started: Mapped[datetime]
    finished: Mapped[datetime | None]
    detail: Mapped[JsonDict]
