"""The tables of what was sent and what waits for its turn; `arrivals.py` turns rows into records."""

from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from registry.tables import NAME, SHA, JsonDict, Table

_OUT = text("state IN ('dispatched', 'running')")


class SubmissionRow(Table):
    """Something that was sent: a file, a JSON body, an event, a dropped file."""

    __tablename__ = "submissions"
    __table_args__ = (
        CheckConstraint(
            "source IN ('command', 'api', 'event', 'schedule', 'folder')", name="source"
        ),
        CheckConstraint("state IN ('received', 'accepted', 'refused')", name="state"),
        Index("ix_submissions_state", "state", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    document: Mapped[JsonDict]
    folder: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[int]
    again: Mapped[bool] = mapped_column(Boolean)
    submitted_by: Mapped[str] = mapped_column(String(128))
    reason: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[list[JsonDict]] = mapped_column(JSON)
    created: Mapped[datetime]
    settled: Mapped[datetime | None]


class ArrivalRow(Table):
    """One task that waits for its turn in a sequence, has it, or had it."""

    __tablename__ = "arrivals"
    __table_args__ = (
        CheckConstraint(
            "state IN ('waiting', 'dispatched', 'running', 'learned', 'failed', 'cancelled')",
            name="state",
        ),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint("lost >= 0", name="lost"),
        CheckConstraint("token >= 0", name="token"),
        Index(
            "uq_arrivals_one_at_a_time",
            "sequence",
            unique=True,
            sqlite_where=_OUT,
            postgresql_where=_OUT,
        ),
        Index("ix_arrivals_turn", "sequence", "state", "priority", "id"),
        Index("ix_arrivals_state", "state", "id"),
        Index("ix_arrivals_content", "content"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[int | None] = mapped_column(ForeignKey("submissions.id"))
    sequence: Mapped[str] = mapped_column(NAME)
    task: Mapped[str] = mapped_column(NAME)
    state: Mapped[str] = mapped_column(String(16))
    held: Mapped[bool] = mapped_column(Boolean)
    priority: Mapped[int]
    document: Mapped[JsonDict]
    content: Mapped[str] = mapped_column(SHA)
    data: Mapped[JsonDict]
    queue: Mapped[str] = mapped_column(String(64))
    attempt: Mapped[int]
    lost: Mapped[int]
    token: Mapped[int] = mapped_column(BigInteger)
    flow_run_id: Mapped[str | None] = mapped_column(String(64))
    holder: Mapped[str | None] = mapped_column(String(256))
    lease_until: Mapped[datetime | None]
    heartbeat: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    progress: Mapped[JsonDict]
    version: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(Text)
    cancel_requested: Mapped[bool] = mapped_column(Boolean)
    created: Mapped[datetime]
    dispatched: Mapped[datetime | None]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]


class HeldSequenceRow(Table):
    """A sequence that gives nothing out until it is released."""

    __tablename__ = "held_sequences"
    __table_args__ = (UniqueConstraint("sequence"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[str] = mapped_column(NAME)
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]


class WatchRow(Table):
    """A folder whose dropped files are submitted."""

    __tablename__ = "watches"
    __table_args__ = (UniqueConstraint("folder"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(String(1024))
    priority: Mapped[int]
    submitted_by: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]
