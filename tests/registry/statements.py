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


@contextmanager
def counted(registry: Registry) -> Iterator[list[str]]:
    """Every statement that is sent while the block runs, but for what opens a transaction."""
    sent: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            sent.append(statement)

    event.listen(registry._database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(registry._database.engine, "before_cursor_execute", note)
