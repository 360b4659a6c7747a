"""When the probes of a version were last recomputed, as `lori verify` left it in the registry.

A promotion checks every hash again, but no probe: those take the base and minutes. One that was found
wrong is refused there until a later look finds it as certified (`registry.verified`).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flows.recorded import Recorded
from flows.times import shown
from registry import verified
from registry.store import Registry

if TYPE_CHECKING:
    from flows.verifying import Told


def remember(found: Recorded, versions: Iterable[int], checks: Sequence["Told"]) -> None:
    """Keep what was found of each version, with its time."""
    for version in versions:
        ok = all(check.ok for of, check in checks if of == version)
        verified.remember(found.registry, found.name, version, ok=ok)


def last_verified(registry: Registry, sequence: str, version: int) -> str:
    """One line: when `lori verify` last recomputed the probes of a version, and what it found."""
    newest = verified.last_verified(registry, sequence, version)
    name = f"{sequence}/{version}"
    if newest is None:
        return f"probes of {name}: not recomputed since it was certified; `lori verify {name}`"
    found = "all as certified" if newest.ok else "NOT as certified"
    return f"probes of {name}: last recomputed {shown(newest.at)}, {found}"
