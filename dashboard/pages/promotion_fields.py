"""What the forms of promotions send as text, read as what it stands for."""

from datetime import UTC, datetime

from lori_core.errors import BadInput
from registry.decisions import Alias, Expect
from registry.plain import aware_time, one_line, whole_number


def parse_moment(text: str) -> datetime:
    """A time as a form sends it: `2026-11-01T12:00`, UTC unless it says otherwise.

    Raises:
        BadInput: it is none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        shown = one_line(text, longest=40)
        raise BadInput(f"time {shown!r}", "one like 2026-11-01T12:00, in UTC") from error
    return aware_time("time", found if found.tzinfo is not None else found.replace(tzinfo=UTC))


def parse_alias(text: str) -> Alias:
    """What a promotion may move. Raises BadInput: it is another word."""
    match text:
        case "champion" | "candidate":
            return text
        case _:
            raise BadInput("to", "champion or candidate")


def parse_version(text: str, *, least: int = 1) -> int:
    """The number of a version. Raises BadInput: it is none, or less than `least`."""
    if not (text.isascii() and text.strip().isdigit() and len(text) < 12):
        raise BadInput("version", f"a whole number from {least} on")
    return whole_number("version", int(text), least=least)


def parse_expected(text: str) -> Expect:
    """What served when the person looked, which every form of ours says. Raises BadInput: it is none."""
    if text == "none":
        return "none"
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadInput(
            "expect", "what served when you looked: a version, 0 (the bare base) or none"
        )
    return whole_number("expect", int(text))
