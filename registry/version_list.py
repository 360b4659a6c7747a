"""The versions of a sequence, newest first: what each learned, how well, and what it serves as."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import and_, func, select
from sqlalchemy.orm import joinedload

from lori_core.config import Read
from registry import lineage
from registry.comparing import Score
from registry.decisions import Alias
from registry.judged import Answer, answers_of
from registry.models import Adapter, Evaluation, Version
from registry.records import CertificateLevel, VersionState
from registry.store import Registry
from registry.version_changes import last_page
from registry.version_view import ALIASES, serving_as

PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One version in a list."""

    version: int
    task: str
    state: VersionState
    certificate: CertificateLevel
    certificate_read: Read
    gate: Answer | None
    """The newest recorded one; None: it was never judged."""
    score: Score | None
    """Of its own task, at this version; None was not measured."""
    owned: int
    """Entries its task may write."""
    entries: int
    size: int
    """Bytes of its files."""
    adapter_sha256: str
    created: datetime
    serves_as: tuple[Alias, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionList:
    """A page of versions."""

    sequence: str
    read: Read
    """The mode of the scores: the one the sequence is trained under."""
    versions: tuple[VersionLine, ...]
    page: int
    size: int
    total: int
    serves_why: str | None
    """Why it cannot be told what serves."""


def version_list(registry: Registry, sequence: str, *, page: int = 1) -> VersionList:
    """The versions of a sequence, half-filed ones too.

    Raises:
        NotFound: there is no such sequence.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        read = cast(Read, owner.adapter.get("read", "inherited"))
        of_owner = Version.sequence_id == owner.id
        total = session.scalar(select(func.count()).select_from(Version).where(of_owner)) or 0
        page = min(page, last_page(total, PAGE))
        rows = session.scalars(
            select(Version)
            .where(of_owner)
            .order_by(Version.number.desc())
            .offset((page - 1) * PAGE)
            .limit(PAGE)
            .options(
                joinedload(Version.certificate),
                joinedload(Version.adapter).joinedload(Adapter.mask),
            )
        ).all()
        scores = {
            number: Score(value=value, low=low, high=high, n=n)
            for number, value, low, high, n in session.execute(
                select(
                    Evaluation.version,
                    Evaluation.value,
                    Evaluation.low,
                    Evaluation.high,
                    Evaluation.n,
                )
                .join(
                    Version,
                    and_(
                        Version.sequence_id == Evaluation.sequence_id,
                        Version.number == Evaluation.version,
                        Version.task == Evaluation.task,
                    ),
                )
                .where(
                    Evaluation.sequence_id == owner.id,
                    Evaluation.read == read,
                    Evaluation.adapter_of == "",
                    Evaluation.version.in_([row.number for row in rows]),
                )
                .order_by(Evaluation.id)
            )
        }
        answers = answers_of(session, owner.id, [row.number for row in rows])
        aliases, why = serving_as(session, owner)
        lines = tuple(
            VersionLine(
                version=row.number,
                task=row.task,
                state=cast(VersionState, row.state),
                certificate=cast(CertificateLevel, row.certificate.level),
                certificate_read=cast(Read, row.certificate.read),
                gate=answers.get(row.number),
                score=scores.get(row.number),
                owned=row.adapter.mask.nnz,
                entries=row.adapter.mask.total,
                size=row.adapter.size,
                adapter_sha256=row.adapter.sha256,
                created=row.created,
                serves_as=tuple(alias for alias in ALIASES if aliases.get(alias) == row.number),
            )
            for row in rows
        )
    return VersionList(
        sequence=sequence,
        read=read,
        versions=lines,
        page=page,
        size=PAGE,
        total=total,
        serves_why=why,
    )
