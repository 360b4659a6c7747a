"""When the probes of a version were last recomputed, as `lori verify` left it in the registry.

A promotion checks every hash again, but no probe: those take the base and minutes.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flows.keys import stage_key
from flows.recorded import Recorded
from flows.times import shown
from registry.store import Registry

if TYPE_CHECKING:
    from flows.verifying import Told

STAGE = "verify"


def remember(found: Recorded, versions: Iterable[int], checks: Sequence["Told"]) -> None:
    """Keep what was found of each version, with its time."""
    for version in versions:
        filed = found.versions[version - 1]
        key = _key(found.name, version, filed.manifest_sha256)
        ok = all(check.ok for of, check in checks if of == version)
        found.registry.stage_started(key, stage=STAGE, sequence=found.name, task=filed.task)
        found.registry.stage_finished(key, failed=not ok)


def last_verified(registry: Registry, sequence: str, version: int) -> str:
    """One line: when `lori verify` last recomputed the probes of a version, and what it found."""
    filed = registry.version(sequence, version)
    key = _key(sequence, version, filed.manifest_sha256)
    mine = [stage for stage in registry.stages(sequence) if stage.key == key and stage.finished]
    name = f"{sequence}/{version}"
    if not mine:
        return f"probes of {name}: not recomputed since it was certified; `lori verify {name}`"
    found = "all as certified" if mine[-1].state == "finished" else "NOT as certified"
    return f"probes of {name}: last recomputed {shown(mine[-1].finished)}, {found}"


def _key(sequence: str, version: int, manifest: str) -> str:
    return stage_key(STAGE, sequence, str(version), manifest)
