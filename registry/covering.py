"""When a certificate proves what a page shows: one rule, the gate's own.

G2 holds under the certificate's own read and no other. G1 proves bits, not answers: where the same
adapter answers and no such certificate covers it, that is said (`same bits`) and nothing is proved.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.models import Certificate, Version

G2 = "G2"


def covers(level: str | None, certificate_read: str | None, shown_read: str) -> bool:
    """Whether a certificate proves earlier tasks' answers unchanged under the read that is shown."""
    return level == G2 and certificate_read == shown_read


def covered_versions(certificates: Iterable[tuple[int, str, str]], shown: str) -> frozenset[int]:
    """The versions whose certificates, (version, level, read), cover the read that is shown."""
    return frozenset(number for number, level, read in certificates if covers(level, read, shown))


def covered_by(session: Session, sequence_id: int, version: int, shown: str) -> bool:
    """Whether the certificate of one version covers the read that is shown; the bare base has none."""
    row = session.execute(
        select(Certificate.level, Certificate.read)
        .join(Version, Version.certificate_id == Certificate.id)
        .where(Version.sequence_id == sequence_id, Version.number == version)
    ).one_or_none()
    return row is not None and covers(row.level, row.read, shown)
