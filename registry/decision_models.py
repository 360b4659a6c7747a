"""The tables of decisions: policies, reports, promotions and their log, who may act, who is told.

Rows of policies, reports, promotions, events, confirmations and the outbox are never changed or
deleted: the database itself refuses it (triggers, made by the migration).
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from registry.tables import NAME, SHA, JsonDict, Table

IMMUTABLE = (
    "gate_policies",
    "gate_reports",
    "gate_test_uses",
    "promotions",
    "promotion_events",
    "confirmations",
    "outbox",
)
"""Tables whose rows stay as they were written."""


class PolicyRow(Table):
    """A gate policy, by content; its version counts the policies of a sequence."""

    __tablename__ = "gate_policies"
    __table_args__ = (
        UniqueConstraint("sequence_id", "version"),
        UniqueConstraint("sequence_id", "sha256"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    version: Mapped[int]
    sha256: Mapped[str] = mapped_column(SHA)
    document: Mapped[JsonDict]
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(128))


class ReportRow(Table):
    """What a policy answered about a version."""

    __tablename__ = "gate_reports"
    __table_args__ = (Index("ix_gate_reports_sequence_id_number", "sequence_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    number: Mapped[int]
    policy_id: Mapped[int] = mapped_column(ForeignKey("gate_policies.id"))
    champion: Mapped[int | None]
    ok: Mapped[bool]
    document: Mapped[JsonDict]
    sha256: Mapped[str] = mapped_column(SHA)
    tests: Mapped[JsonDict]
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(128))

    policy: Mapped[PolicyRow] = relationship()


class UseRow(Table):
    """A test set that helped to decide a report: what its uses are counted by."""

    __tablename__ = "gate_test_uses"
    __table_args__ = (UniqueConstraint("report_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("gate_reports.id"))
    digest: Mapped[str] = mapped_column(String(128), index=True)


class PromotionRow(Table):
    """The facts of one request to move an alias. Where it stands is in its events."""

    __tablename__ = "promotions"
    __table_args__ = (
        CheckConstraint("kind IN ('promote', 'rollback')", name="kind"),
        CheckConstraint("alias IN ('candidate', 'champion')", name="alias"),
        CheckConstraint("to_version >= 0", name="to_version"),
        Index("ix_promotions_target", "sequence_id", "alias", "to_version"),
        Index("ix_promotions_page", "sequence_id", "alias", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    kind: Mapped[str] = mapped_column(String(16))
    alias: Mapped[str] = mapped_column(String(16))
    from_version: Mapped[int | None]
    to_version: Mapped[int]
    requested_by: Mapped[str] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(Text)
    expected: Mapped[str | None] = mapped_column(String(16))  # "none", a number, or not said
    report_id: Mapped[int | None] = mapped_column(ForeignKey("gate_reports.id"))
    facts_sha256: Mapped[str] = mapped_column(SHA)
    created: Mapped[datetime]

    report: Mapped[ReportRow | None] = relationship()


class EventRow(Table):
    """One entry of a sequence's log: each holds the hash of the one before."""

    __tablename__ = "promotion_events"
    __table_args__ = (
        UniqueConstraint("sequence_id", "position"),
        CheckConstraint("position >= 1", name="position"),
        # What serves, and what served then, in one step down this index.
        Index("ix_promotion_events_served", "sequence_id", "alias", "kind", "created", "position"),
        Index("ix_promotion_events_kind", "sequence_id", "kind", "position"),
        Index("ix_promotion_events_promotion_id", "promotion_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(32))
    promotion_id: Mapped[int | None] = mapped_column(ForeignKey("promotions.id"))
    alias: Mapped[str | None] = mapped_column(String(16))  # the promotion's, to be found by
    actor: Mapped[str] = mapped_column(String(128))
    payload: Mapped[JsonDict]
    created: Mapped[datetime]
    previous: Mapped[str] = mapped_column(SHA)
    sha256: Mapped[str] = mapped_column(SHA)

    promotion: Mapped[PromotionRow | None] = relationship()


class OutboxRow(Table):
    """Something to tell, written with the change it tells of."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int | None] = mapped_column(ForeignKey("sequences.id"))
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[JsonDict]
    created: Mapped[datetime]


class WebhookRow(Table):
    """Whom to tell of which kinds."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    url: Mapped[str] = mapped_column(String(2048))
    secret: Mapped[str] = mapped_column(String(256))
    kinds: Mapped[list[str]]  # empty: every kind
    active: Mapped[bool]
    created: Mapped[datetime]


class DeliveryRow(Table):
    """One message on its way to one webhook."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("outbox_id", "webhook_id"),
        Index("ix_deliveries_due", "delivered", "next_attempt"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    outbox_id: Mapped[int] = mapped_column(ForeignKey("outbox.id"))
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id"))
    attempts: Mapped[int]
    next_attempt: Mapped[datetime]
    delivered: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)

    outbox: Mapped[OutboxRow] = relationship()
    webhook: Mapped[WebhookRow] = relationship()


class ExportRow(Table):
    """The digest of an adapter file that was written for a server to load."""

    __tablename__ = "exports"
    __table_args__ = (UniqueConstraint("sequence_id", "number", "task", "read", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    number: Mapped[int]
    task: Mapped[str] = mapped_column(NAME)
    read: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(SHA)
    created: Mapped[datetime]


class ConfirmationRow(Table):
    """What a server said it loaded."""

    __tablename__ = "confirmations"
    __table_args__ = (Index("ix_confirmations_sequence_id_number", "sequence_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence_id: Mapped[int] = mapped_column(ForeignKey("sequences.id"))
    number: Mapped[int]
    task: Mapped[str] = mapped_column(NAME)
    read: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(SHA)
    host: Mapped[str] = mapped_column(String(256))
    loaded_at: Mapped[datetime]
    created: Mapped[datetime]


class AccountRow(Table):
    """A person or a service that may act."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(
            "role IN ('viewer', 'trainer', 'reviewer', 'promoter', 'admin')", name="role"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(String(256))  # signs in at the pages
    password_by: Mapped[str | None] = mapped_column(String(128))  # who set it, and so knows it
    disabled: Mapped[bool]
    created: Mapped[datetime]
    made_by: Mapped[str | None] = mapped_column(String(128))  # None: made before 0003

    tokens: Mapped[list["TokenRow"]] = relationship(
        order_by="TokenRow.id", back_populates="account"
    )


class TokenRow(Table):
    """A token of an account; only its hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    sha256: Mapped[str] = mapped_column(SHA, unique=True)
    label: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]
    made_by: Mapped[str | None] = mapped_column(String(128))  # None: made before 0003

    account: Mapped[AccountRow] = relationship(back_populates="tokens")
