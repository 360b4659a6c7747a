"""What a server that someone else runs is asked before anything is sent to it, as plain data."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

Server = Literal["prefect", "mlflow"]
Question = Literal["address", "access", "version", "clock", "rights", "artifacts"]

MOST_SKEW = timedelta(seconds=10)
"""Schedules, lateness and the order of what is shown are told by both clocks."""

PROBE = "lori-doctor-probe"
"""The name of what is made to see that it may be, and deleted again at once."""

UNWELL = "It may be busy or unwell: its log says why. Ask again."
"""What to do where a server fails at what it was asked: that says nothing about rights."""


def is_unwell(status: int) -> bool:
    """Whether a server that answers so could not say: it failed, was busy, or has been asked too often."""
    return status >= 500 or status in (408, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one question to one server."""

    server: Server
    question: Question
    ok: bool
    detail: str
    remedy: str = ""
    """What to do where it is not ok."""


def clock_answer(server: Server, said: str | None, before: datetime, after: datetime) -> Answer:
    """Compare a server's Date header with our clock around the request.

    The header counts whole seconds, and the server wrote it at some moment between `before` and
    `after`: only what lies outside both is skew.
    """
    if said is None:
        return Answer(
            server=server, question="clock", ok=True, detail="the server does not tell its time"
        )
    theirs = parsedate_to_datetime(said)
    ahead, behind = theirs - after, before - (theirs + timedelta(seconds=1))
    skew = max(ahead, behind, timedelta(0))
    if skew > MOST_SKEW:
        side = "ahead of" if ahead > behind else "behind"
        detail = f"its clock is {skew.total_seconds():.0f} s {side} this host's"
        remedy = f"Keep both within {MOST_SKEW.total_seconds():.0f} s, by NTP on both hosts."
        return Answer(server=server, question="clock", ok=False, detail=detail, remedy=remedy)
    detail = "its clock and this host's agree to a second or two"
    return Answer(server=server, question="clock", ok=True, detail=detail)


def numbers(version: str) -> tuple[int, ...] | None:
    """The leading numbers of a version, `3.8.8.dev1` as (3, 8, 8); None where it has none."""
    found: list[int] = []
    for part in version.strip().partition("+")[0].split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found) or None
