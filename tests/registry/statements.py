"""How many statements a piece of work sends to the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from registry.store import Registry


class Count:
    """What was counted so far."""

    def __init__(self) -> None:
        self.number = 0

    def one_more(self, *told: object) -> None:
        self.number += 1


@contextmanager
def statements(registry: Registry) -> Iterator[Count]:
    """Count what is sent while the block runs."""
    count = Count()
    engine = registry._database.engine
    event.listen(engine, "before_cursor_execute", count.one_more)
    try:
        yield count
    finally:
        event.remove(engine, "before_cursor_execute", count.one_more)
