"""A log as a page shows it: checked entry by entry when it has grown, and again once a minute.

To read thousands of entries on every view would cost more than the rest of a page. What is shown says
when it was checked; a decision never asks here (`ledger.refuse_broken`).
"""

from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic

from sqlalchemy import select

from registry import ledger, lineage
from registry.clock import now
from registry.decision_models import EventRow
from registry.decisions import ChainCheck
from registry.store import Registry

AGE = 60.0
"""Seconds after which an unchanged log is read again."""

MOST = 512
"""Logs that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSeen:
    """Whether the log was whole, and when that was looked at."""

    check: ChainCheck
    at: datetime


_seen: dict[tuple[str, str], tuple[float, tuple[object, ...], ChainSeen]] = {}
_turn = Lock()


def chain_seen(registry: Registry, sequence: str) -> ChainSeen:
    """`ledger.check_entries`, at most `AGE` seconds old and never of a shorter log.

    Raises:
        NotFound: there is no such sequence.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        end = session.execute(
            select(EventRow.position, EventRow.sha256)
            .where(EventRow.sequence_id == owner.id)
            .order_by(EventRow.position.desc())
            .limit(1)
        ).first()
    key = str(registry.settings.home), sequence
    state = (registry._database.place, end and tuple(end), ledger.file_anchor(registry, sequence))
    with _turn:
        known = _seen.get(key)
    if known is not None and known[1] == state and monotonic() - known[0] < AGE:
        return known[2]
    found = ChainSeen(check=ledger.check_entries(registry, sequence), at=now())
    with _turn:
        _seen.pop(key, None)
        while len(_seen) >= MOST:
            del _seen[next(iter(_seen))]
        _seen[key] = monotonic(), state, found
    return found
