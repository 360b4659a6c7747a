"""What a version must pass: from the settings a sequence was recorded with."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, cast, get_args

from sqlalchemy import select

from lori_core.config import AdapterConfig, GateConfig, Protection, Read
from lori_core.digests import sha256_json
from lori_core.errors import BadInput
from lori_core.validation import BOUNDS, reachable_level
from registry import lineage
from registry.decision_models import PolicyRow
from registry.decisions import GatePolicy
from registry.records import CertificateLevel, Json, SequenceRecord
from registry.store import Registry

_CHOICES = {
    "certificate": get_args(CertificateLevel),
    "read": get_args(Read),
    "underpowered": ("refuse", "warn"),
}


def policy_of(registry: Registry, sequence: str) -> GatePolicy:
    """The policy in force for a sequence, with its version if it was recorded before.

    Raises:
        BadInput: no such sequence, or its recorded settings are no policy.
    """
    policy = policy_of_record(registry.sequence(sequence))
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        version = session.scalar(
            select(PolicyRow.version).where(
                PolicyRow.sequence_id == owner.id,
                PolicyRow.sha256 == sha256_json(policy_document(policy)),
            )
        )
    return replace(policy, version=version)


def policy_of_record(record: SequenceRecord) -> GatePolicy:
    """The policy that a sequence's recorded settings say.

    Raises:
        BadInput: a setting is none, a number is out of bounds, or another read than the one that is
            trained and served is to be judged.
    """
    settings = record.settings
    defaults = asdict(GateConfig())
    trained = {"read": record.adapter.get("read", defaults["read"])}
    known: dict[str, Any] = {**defaults, **trained, **cast(Json, settings.get("gate", {}))}
    for key, value in known.items():
        _check(record.name, key, value)
    if known["read"] != trained["read"]:
        raise BadInput(
            f"sequence {record.name!r}: recorded gate.read {known['read']!r}",
            f"{trained['read']!r}, the read that is trained and served",
            "Leave `gate.read` out; `lori run FILE` records the file's policy again.",
        )
    return policy_from(
        GateConfig(**known),
        guards=cast(Sequence[str], settings.get("guards", ())),
        promotion=str(settings.get("promotion", "manual")),
    )


def policy_from(gate: GateConfig, *, guards: Sequence[str], promotion: str) -> GatePolicy:
    """The policy that a sequence file says."""
    return GatePolicy(
        certificate=gate.certificate,
        max_guard_drop=gate.max_guard_drop,
        max_forgetting=gate.max_forgetting,
        min_learning=gate.min_learning,
        max_plasticity_gap=gate.max_plasticity_gap,
        confidence=gate.confidence,
        read=gate.read,
        underpowered=gate.underpowered,
        guards=tuple(guards),
        approval=promotion == "approval",
    )


def policy_document(policy: GatePolicy) -> dict[str, object]:
    """A policy as JSON, without the number it has in its sequence: what its digest is of."""
    document = asdict(policy)
    del document["version"]
    document["guards"] = list(policy.guards)
    return document


def reach(protection: str, read: Read) -> CertificateLevel:
    """The highest certificate level that a protection can reach under a read mode."""
    adapter = AdapterConfig(protection=cast(Protection, protection), read=read)
    return cast(CertificateLevel, reachable_level(adapter))


def _check(sequence: str, key: str, value: object) -> None:
    bound = BOUNDS.get(("GateConfig", key))
    choices = _CHOICES.get(key)
    if choices is not None:
        if value in choices:
            return
        expected = " or ".join(choices)
    elif bound is None:
        expected = f"one of {', '.join(asdict(GateConfig()))}"
        key, value = "gate", key
    else:
        if value is None and key == "max_plasticity_gap":
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(cast(float, value)) and bound.admits(cast(float, value)):
            return
        expected = f"a number, {bound}"
    raise BadInput(
        f"sequence {sequence!r}: recorded {key} {value!r}",
        expected,
        "`lori run FILE` records the file's policy again.",
    )
