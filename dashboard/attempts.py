"""How often somebody may try a password: ten failures in five minutes, for each name and address."""

import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MOST = 10
SECONDS = 300.0
_KEYS = 10_000


class Attempts:
    """What was tried of late. Kept by the process: a restart forgets it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, *keys: str) -> int:
        """Count an attempt under each key and return 0; or count none, and return the seconds to wait."""
        with self._lock:
            current = self._clock()
            wait = max(self._wait(key, current) for key in keys)
            if wait > 0:
                return math.ceil(wait)
            for key in keys:
                self._tried.setdefault(key, deque()).append(current)
                self._tried.move_to_end(key)
            while len(self._tried) > _KEYS:
                self._tried.popitem(last=False)
            return 0

    def forget_one(self, *keys: str) -> None:
        """The attempt just counted was right: only failures count."""
        with self._lock:
            for key in keys:
                if tried := self._tried.get(key):
                    tried.pop()

    def _wait(self, key: str, current: float) -> float:
        tried = self._tried.get(key)
        if tried is None:
            return 0
        while tried and tried[0] <= current - SECONDS:
            tried.popleft()
        if not tried:
            del self._tried[key]
            return 0
        return tried[0] + SECONDS - current if len(tried) >= MOST else 0


def address_key(address: str) -> str:
    """One key for all addresses of one household: of IPv6, whoever has one has 2^64 of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    if isinstance(found, ipaddress.IPv6Address):
        return f"address {ipaddress.IPv6Network((int(found) >> 64 << 64, 64))}"
    return f"address {found}"


def name_key(name: str) -> str:
    """The key of a name, whether there is such an account or not."""
    return f"name {name[:100]}"
