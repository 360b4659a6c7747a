"""Times as people type them: a moment, or a span from now."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from lori_core.errors import BadInput

_SPAN = re.compile(r"([1-9][0-9]{0,3})([mhdw])")
_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_OF_DAY = re.compile(
    r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?(Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?"
)
_SPANS = "A span from now will do: 1 to 9999 of m, h, d or w, such as 90m, 12h, 3d, 2w."
_ISO = "an ISO 8601 time such as 2026-03-15 or 2026-03-15T09:30:00+01:00"
_TIMES_OF_DAY = "A time of day, 22:00 or 22:00+01:00, is the next such moment."
_YEARS = (1970, 9998)
"""Every zone can express them."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time or date; without a zone it is this machine's, a date is its first moment.

    Raises:
        BadInput: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"time {text!r}", _ISO) from error
    first, last = _YEARS
    if not first <= found.year <= last:
        raise BadInput(f"time {text!r}", f"a year from {first} to {last}")
    return found.astimezone()


def parse_past(text: str, now: datetime) -> datetime:
    """Read a moment that something can be known of.

    Raises:
        BadInput: it is none, or has not come yet.
    """
    when = parse_time(text)
    if when > now:
        raise BadInput(f"time {text!r}", f"a time that has come: it is {shown(now)}")
    return when


def parse_until(text: str, now: datetime) -> datetime:
    """Read a moment, or a span from now: `90m`, `12h`, `3d`, `2w`.

    Raises:
        BadInput: it is neither, or not a time to come.
    """
    if span := _SPAN.fullmatch(text):
        return now + timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        until = parse_time(text)
    except BadInput as error:
        raise BadInput(error.what, error.expected, _SPANS) from error
    if until <= now:
        raise BadInput(f"time {text!r}", "a time to come", _SPANS)
    return until


def parse_at(text: str, now: datetime) -> datetime:
    """Read a moment to come, a span from now, or a time of day: `22:00`, `22:00:30`, `22:00+01:00`.

    A time of day is the next such moment, without a zone by this machine's clock.

    Raises:
        BadInput: it is none of them, or past.
    """
    if found := _OF_DAY.fullmatch(text):
        return _next(found, now)
    try:
        return parse_until(text, now)
    except BadInput as error:
        remedy = f"{error.remedy} {_TIMES_OF_DAY}"
        raise BadInput(error.what, error.expected, remedy) from error


def _next(of_day: re.Match[str], now: datetime) -> datetime:
    zone = _zone(of_day[4])
    today = now.astimezone(zone).replace(
        hour=int(of_day[1]), minute=int(of_day[2]), second=int(of_day[3] or 0), microsecond=0
    )
    for days in (0, 1):
        when = today.replace(tzinfo=None) + timedelta(days=days)
        # asked anew for each day: where clocks are set back or forward, its distance is another
        then = when.astimezone() if zone is None else when.replace(tzinfo=zone)
        if then > now:
            break
    return then


def _zone(text: str | None) -> tzinfo | None:
    """None: this machine's."""
    if text is None:
        return None
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    distance = timedelta(hours=hours, minutes=minutes)
    return timezone(-distance if text[0] == "-" else distance)


def parse_span(text: str) -> timedelta:
    """Read a span: `30s`, `15m`, `12h`, `1d`, `2w`.

    Raises:
        BadInput: it is none.
    """
    span = _INTERVAL.fullmatch(text)
    if span is None:
        raise BadInput(f"span {text!r}", "a number and one of s, m, h, d, w", "Such as 15m, 12h.")
    return timedelta(**{_UNITS[span[2]]: int(span[1])})


def shown(at: datetime | None) -> str:
    """A moment for people: this machine's clock, with its zone."""
    return "–" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")
