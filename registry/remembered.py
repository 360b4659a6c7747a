"""What was worked out and stays true: kept in memory by what it was made from, oldest use out first."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A bounded memory that several threads may use. A key names everything its value depends on."""

    def __init__(self, most: int) -> None:
        """Keep values of at most so much size together (an entry counts 1 unless it says more)."""
        self._most = most
        self._held = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._turn = Lock()

    def get(self, key: K) -> V | None:
        """What is kept under a key, or None."""
        with self._turn:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, *, size: int = 1) -> None:
        """Keep a value; what was not asked for the longest leaves until there is room."""
        with self._turn:
            if (before := self._values.pop(key, None)) is not None:
                self._held -= before[1]
            self._values[key] = (value, size)
            self._held += size
            while self._held > self._most and len(self._values) > 1:
                _, (_, freed) = self._values.popitem(last=False)
                self._held -= freed
