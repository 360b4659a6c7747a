"""The tables of who looks at pages: sign-ins, and who may see rows."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from registry.decision_models import AccountRow
from registry.tables import NAME, SHA, Table


class SignInRow(Table):
    """Somebody who signed in at a browser. Only the hash of what his browser holds is kept."""

    __tablename__ = "sign_ins"
    __table_args__ = (
        CheckConstraint("(account_id IS NULL) <> (person IS NULL)", name="who"),
        UniqueConstraint("sha256"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str | None] = mapped_column(SHA)  # None: a proxy says who it is, each time
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    person: Mapped[str | None] = mapped_column(String(128), index=True)  # `os:NAME`, `proxy:NAME`
    token_sha256: Mapped[str | None] = mapped_column(SHA)  # the printed token it was made with
    csrf: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires: Mapped[datetime]
    ended: Mapped[datetime | None]

    account: Mapped[AccountRow | None] = relationship()


class RowRightRow(Table):
    """Somebody may see the rows of a task, or of every task of a sequence."""

    __tablename__ = "row_rights"
    __table_args__ = (UniqueConstraint("account", "sequence", "task"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(String(128))  # its name, or `proxy:NAME`
    sequence: Mapped[str] = mapped_column(NAME)
    task: Mapped[str] = mapped_column(NAME)  # "" for all: NULLs are never equal
    made_by: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]


class HiddenRowsRow(Table):
    """Nobody sees the rows of a task any more."""

    __tablename__ = "hidden_rows"
    __table_args__ = (UniqueConstraint("sequence", "task"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[str] = mapped_column(NAME)
    task: Mapped[str] = mapped_column(NAME)
    reason: Mapped[str] = mapped_column(Text)
    made_by: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]
