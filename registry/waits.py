"""How long to wait before something is tried again."""

from datetime import timedelta
from typing import TypeVar

T = TypeVar("T", float, timedelta)

_MOST_DOUBLED = 20
"""So often at most: what is tried for days would be a number nobody can hold."""


def doubled(first: T, longest: T, attempt: int) -> T:
    """The wait after an attempt, counted from 1: the first one, doubled each time, up to the longest."""
    factor: int = 1 << min(max(attempt - 1, 0), _MOST_DOUBLED)
    return min(first * factor, longest)
