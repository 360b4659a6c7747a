"""How a dispatcher works: what a test may want otherwise."""

from dataclasses import dataclass
from datetime import timedelta

from flows.pools import LEARN_ARRIVAL
from registry.arrivals import LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Of one dispatcher."""

    look: float = 5.0
    """Seconds between two looks."""

    patience: timedelta = LEASE
    """How long a flow run that began may take to take its arrival up."""

    learn_arrival: str = LEARN_ARRIVAL
    """Module path of the flow that learns an arrival."""
