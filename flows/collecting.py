"""How often a starting process searches for garbage: its imports make half a million objects that stay.

Python looks through what is new after every 700 of them, which was a fifth of the CPU time of the
training child's start and a quarter of that of Prefect's server.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = (20_000, 10, 10)
"""Thresholds of the three generations; Python's own first one is 700."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Within the block; afterwards as before. For work that mostly imports, and keeps nothing large."""
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def importing() -> Iterator[None]:
    """Collect seldom within the block, and set aside for good what it made: nobody searches it again."""
    with collecting_seldom():
        yield
    gc.collect()
    gc.freeze()
