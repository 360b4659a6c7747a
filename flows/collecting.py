"""How often a starting process searches for garbage: its imports make half a million objects that stay.

Python looks through what is new after every 700 of them, which was a fifth of the CPU time of the
training child's start and a quarter of that of Prefect's server.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = (100_000, 20, 20)
"""Thresholds of the three generations; Python's own first one is 700."""


def collect_seldom() -> None:
    """For the rest of this process: one that mostly imports, and keeps nothing large."""
    gc.set_threshold(*SELDOM)


@contextmanager
def importing() -> Iterator[None]:
    """Collect seldom within the block; afterwards as before, with what it made set aside for good."""
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*before)
