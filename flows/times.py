"""Times as people type them: a moment, or a span from now."""

import re
from datetime import datetime, timedelta

from lori_core.errors import BadInput

_SPAN = re.compile(r"([1-9][0-9]{0,3})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time or date; without a zone it is this machine's, a date is its first moment.

    Raises:
        BadInput: it is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"time {text!r}", "an ISO 8601 time such as 2026-03-15 or 2026-03-15T09:30:00+01:00"
        ) from error


def parse_until(text: str, now: datetime) -> datetime:
    """Read a moment, or a span from now: `90m`, `12h`, `3d`, `2w`.

    Raises:
        BadInput: it is neither, or not a time to come.
    """
    span = _SPAN.fullmatch(text)
    until = now + timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else parse_time(text)
    if until <= now:
        raise BadInput(f"time {text!r}", "a time to come", "A span such as 12h or 3d will do.")
    return until


def shown(at: datetime | None) -> str:
    """A moment for people: this machine's clock, with its zone."""
    return "–" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")
