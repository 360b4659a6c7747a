"""The one place of this room that reads the clock; and how programs are told a moment."""

from datetime import UTC, datetime


def now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


def json_time(at: datetime) -> str:
    """A moment for programs, everywhere alike: UTC, with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
