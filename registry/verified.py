"""What `lori verify` found last of each version: kept by manifest, so that it is about these very bits.

A promotion checks every hash again but no probe: those take the base and minutes. That the probes did
not answer as certified, though, is known from here on, and lets the version serve by no path until a
later look finds them as certified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from lori_core.digests import sha256_json
from registry.models import Stage
from registry.store import Registry

STAGE = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The newest look at one version."""

    ok: bool
    at: datetime


def remember(registry: Registry, sequence: str, version: int, *, ok: bool) -> None:
    """Keep what was found of a version, with its time."""
    filed = registry.version(sequence, version)
    key = _key(sequence, version, filed.manifest_sha256)
    registry.stage_started(key, stage=STAGE, sequence=sequence, task=filed.task)
    registry.stage_finished(key, failed=not ok)


def last_verified(registry: Registry, sequence: str, version: int) -> Verified | None:
    """The newest look at a version as it is filed; None where nobody looked since it was certified."""
    filed = registry.version(sequence, version)
    with registry._database.reading() as session:
        row = session.scalar(
            select(Stage)
            .where(
                Stage.key == _key(sequence, version, filed.manifest_sha256),
                Stage.finished.is_not(None),
            )
            .order_by(Stage.attempt.desc())
            .limit(1)
        )
        if row is None or row.finished is None:
            return None
        return Verified(ok=row.state == "finished", at=row.finished)


def found_wrong(
    registry: Registry, sequence: str, manifests: Mapping[int, str]
) -> Mapping[int, datetime]:
    """Version -> when it was last found not to be as certified; others are left out.

    Args:
        registry: where it is kept.
        sequence: whose versions.
        manifests: version -> the digest of its manifest.
    """
    newest: dict[str, tuple[str, datetime]] = {}
    with registry._database.reading() as session:
        looked = select(Stage.key, Stage.state, Stage.finished).where(
            Stage.sequence == sequence, Stage.stage == STAGE, Stage.finished.is_not(None)
        )
        for key, state, at in session.execute(looked.order_by(Stage.attempt)):
            assert at is not None, "asked for"
            newest[key] = state, at
    if all(state == "finished" for state, _ in newest.values()):
        return {}
    keys = {number: _key(sequence, number, manifest) for number, manifest in manifests.items()}
    return {
        number: newest[key][1]
        for number, key in keys.items()
        if key in newest and newest[key][0] != "finished"
    }


def _key(sequence: str, version: int, manifest: str) -> str:
    """As every stage's key is made."""
    return sha256_json({"stage": STAGE, "identity": [sequence, str(version), manifest]})
