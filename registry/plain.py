"""Text and numbers that strangers may write: what every store, log and page can hold."""

import unicodedata
from datetime import UTC, datetime

from lori_core.errors import BadInput

_LONGEST_LINE = 600

LONGEST = 2000
"""Characters of a reason."""

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make a line read as another one."""

LARGEST = 2**31 - 1
"""The largest number a column of the registry holds."""


def plain_text(what: str, value: str, *, longest: int = LONGEST) -> str:
    """Return the text in one line, if every store, log and page can hold it.

    Broken lines are joined by a space: what a person wrote is kept, and can look like no second
    line of a log, a table or a message.

    Raises:
        BadInput: it is empty, too long, or holds a control character.
    """
    text = value.strip()
    if not text:
        raise BadInput(f"{what} is empty", "a few words")
    if len(text) > longest:
        raise BadInput(f"{what} of {len(text)} characters", f"at most {longest}")
    for character in text:
        unseen = character in _TURNING or unicodedata.category(character) in {"Cc", "Cs"}
        if unseen and character not in "\n\t":
            raise BadInput(
                f"{what} with the character U+{ord(character):04X}",
                "text without control characters",
            )
    return " ".join(text.split())


def whole_number(what: str, value: int, *, least: int = 0) -> int:
    """Return the number, if a column can hold it.

    Raises:
        BadInput: it is too small or too large.
    """
    if not least <= value <= LARGEST:
        shown = f" {value}" if abs(value) <= LARGEST else ""  # Python refuses to print 5,000 digits
        raise BadInput(f"{what}{shown}", f"a whole number from {least} to {LARGEST}")
    return value


def aware_time(what: str, value: datetime) -> datetime:
    """Return the time in UTC, if it says its zone and every store can hold it.

    Raises:
        BadInput: it has no zone, or lies before 1970 or after 2999.
    """
    if value.tzinfo is None:
        raise BadInput(f"{what} {value.isoformat()}", "a time with its zone", "Add `Z` for UTC.")
    if not 1970 <= value.year <= 2999:
        raise BadInput(f"{what} {value.isoformat()}", "a time from 1970 to 2999")
    return value.astimezone(UTC)


def one_line(text: str, *, longest: int = _LONGEST_LINE) -> str:
    """Text of a stranger for our own terminal: one line, no control characters, not too long."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split())[:longest]
