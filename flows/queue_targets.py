"""What a person points at in the queue: an arrival by its number, or a whole sequence by its name."""

from collections.abc import Iterable

from flows.recorded import parse_sequence
from registry.plain import LARGEST, whole_number

_DIGITS = len(str(LARGEST))


def targets_of(texts: Iterable[str]) -> list[tuple[int | None, str | None]]:
    """(number, None) for an arrival, (None, name) for a sequence; all are read before any is used.

    Digits alone are a number: a sequence whose name has no other characters is not meant.

    Raises:
        BadInput: a text that is neither.
    """
    return [_target(text) for text in texts]


def _target(text: str) -> tuple[int | None, str | None]:
    if text.isascii() and text.isdigit():
        number = int(text[: _DIGITS + 1])  # Python reads no endless numbers
        return whole_number("arrival", number, least=1), None
    return None, parse_sequence(text)
