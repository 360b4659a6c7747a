"""Moving an alias so that a kill at any moment leaves something that can be told and ended.

    applying   our row says what is about to happen
               MLflow's alias is set, then read back
    applied    our row says that it happened; or `failed`, and why

Who dies between the first and the last leaves `applying` behind. The next decision about the
sequence (or `lori doctor`) ends it: an alias that was set is confirmed, one that was not is given up.

Every function here but `reconcile`, `reconcile_all` and `restore_aliases` is called under `alias_lock`.
"""

from sqlalchemy import exists, select

from lori_core.errors import CheckFailed
from registry import decided, ledger, lineage, outbox
from registry.decision_models import EventRow, PromotionRow
from registry.decisions import BARE_BASE, Actor, Alias, EventKind, LogEntry
from registry.models import Sequence
from registry.records import Json
from registry.soundness import faults
from registry.store import Registry

RECONCILER = "(reconciler)"
"""The log's name for whoever ends what another began; no account can have it."""

ALIASES: tuple[Alias, ...] = ("champion", "candidate", "previous")


def alias_lock(sequence: str) -> str:
    """The lock under which a sequence's aliases and log change."""
    return f"promote-{sequence}"


def check_sound(registry: Registry, sequence: str, version: int) -> None:
    """Return if a version is what was certified, every file and every version it stands on.

    Raises:
        CheckFailed: it is not; it can serve by no path.
    """
    if version == BARE_BASE:
        return
    if found := faults(registry, sequence, version):
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise CheckFailed("integrity", f"{sequence}/{version}: {'; '.join(found[:3])}{more}")


def move(registry: Registry, sequence: str, promotion: int, actor: str) -> None:
    """Point the alias of a promotion that says `applying`, read it back, and say that it happened.

    Raises:
        CheckFailed: MLflow lost the version, or the alias is another one when it is read back.
        BadInput: MLflow does not answer; the promotion is ended when it does.
    """
    with registry._database.reading() as session:
        row = decided.promotion_row(session, promotion)
        alias, version = decided.alias_of(row), row.to_version
    model, store = registry.model_name(sequence), registry.aliases()
    try:
        wanted = model_version(registry, sequence, version)
        store.set_alias(model, alias, wanted)
        found = store.get_alias(model, alias)
        if found != wanted:
            raise CheckFailed(
                "read back", f"{sequence}@{alias} is {found} in MLflow after {wanted} was set"
            )
    except CheckFailed as refusal:
        give_up(registry, sequence, promotion, actor, str(refusal))
        raise
    _confirm(registry, sequence, promotion, actor, {})


def give_up(registry: Registry, sequence: str, promotion: int, actor: str, why: str) -> LogEntry:
    """Say that a promotion will not happen."""
    entry = record(registry, sequence, "failed", actor, {"why": why}, promotion)
    ledger.anchor(registry, sequence)
    return entry


def record(
    registry: Registry,
    sequence: str,
    kind: EventKind,
    actor: str,
    payload: Json,
    promotion: int | None = None,
    *,
    alias: Alias | None = None,
) -> LogEntry:
    """Write one entry, and the message that tells of it."""
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, sequence)
        row = None if promotion is None else decided.promotion_row(session, promotion)
        entry = ledger.append(session, owner, kind, actor, payload, row, alias=alias)
        outbox.enqueue(session, owner, kind, told(sequence, entry, row))
        return entry


def told(sequence: str, entry: LogEntry, row: PromotionRow | None) -> Json:
    """What a webhook is told of an entry."""
    message: dict[str, object] = {
        "sequence": sequence,
        "position": entry.position,
        "kind": entry.kind,
        "actor": entry.actor,
        "at": entry.at.isoformat(),
        "payload": entry.payload,
    }
    if row is not None:
        message["promotion"] = {
            "id": row.id,
            "kind": row.kind,
            "alias": row.alias,
            "from_version": row.from_version,
            "to_version": row.to_version,
            "requested_by": row.requested_by,
            "reason": row.reason,
        }
    return message


def model_version(registry: Registry, sequence: str, version: int) -> int:
    """MLflow's number of a version of ours.

    Raises:
        CheckFailed: the version is not filed.
    """
    if version == BARE_BASE:
        return registry.base_version(sequence)
    filed = registry.version(sequence, version)
    if filed.state != "registered" or filed.model_version is None:
        raise CheckFailed("filed", f"{sequence}/{version} is only {filed.state}; run it again")
    return filed.model_version


def reconcile(registry: Registry, sequence: str) -> tuple[LogEntry, ...]:
    """End what a killed process left half done, and write down aliases moved behind our back.

    Nothing is written where nothing is wrong, or where it was written down before.
    """
    registry.sequence(sequence)
    with registry._database.exclusive(alias_lock(sequence)):
        entries = [*end_interrupted(registry, sequence)]
        for alias in ALIASES:
            if (entry := note_drift(registry, sequence, alias)) is not None:
                entries.append(entry)
        ledger.anchor(registry, sequence)
    return tuple(entries)


def reconcile_all(registry: Registry) -> tuple[LogEntry, ...]:
    """`reconcile` every sequence about which anything was ever decided."""
    with registry._database.reading() as session:
        decided_on = exists().where(EventRow.sequence_id == Sequence.id)
        names = session.scalars(select(Sequence.name).where(decided_on).order_by(Sequence.name))
        sequences = tuple(names)
    return tuple(entry for name in sequences for entry in reconcile(registry, name))


def restore_aliases(registry: Registry, sequence: str, actor: Actor) -> tuple[LogEntry, ...]:
    """Point MLflow's aliases back to where our rows say they are; the log tells of each.

    Raises:
        CheckFailed: what our rows say serves is no longer what was certified, or the alias is moved
            again while it is put back. The aliases before it are put back.
    """
    reconcile(registry, sequence)
    entries = []
    model, store = registry.model_name(sequence), registry.aliases()
    with registry._database.exclusive(alias_lock(sequence)):
        for alias in ALIASES:
            drift = _drift(registry, sequence, alias)
            if drift is None:
                continue
            version = _serving(registry, sequence, alias)
            if version is not None:
                check_sound(registry, sequence, version)
            _put(registry, sequence, alias, version)
            if (found := store.get_alias(model, alias)) != drift["expected_model_version"]:
                raise CheckFailed("read back", f"{sequence}@{alias} is {found} in MLflow again")
            payload = {**drift, "mended": True}
            entries.append(record(registry, sequence, "drift", actor.name, payload, alias=alias))
        ledger.anchor(registry, sequence)
    return tuple(entries)


def end_interrupted(registry: Registry, sequence: str) -> tuple[LogEntry, ...]:
    """Finish or give up the promotion whose process died while it moved the alias."""
    with registry._database.reading() as session:
        row = decided.interrupted(session, lineage.known_sequence(session, sequence))
        if row is None:
            return ()
        promotion, alias, before, after = (
            row.id, decided.alias_of(row), row.from_version, row.to_version,
        )  # fmt: skip
    found = registry.aliases().get_alias(registry.model_name(sequence), alias)
    if found != model_version(registry, sequence, after):
        why = f"interrupted before {sequence}@{alias} was set; what served still serves"
        return (give_up(registry, sequence, promotion, RECONCILER, why),)
    try:
        check_sound(registry, sequence, after)
    except CheckFailed as refusal:
        _put(registry, sequence, alias, before)
        why = f"interrupted, and taken back: {refusal}"
        return (give_up(registry, sequence, promotion, RECONCILER, why),)
    finished = {"recovered": "interrupted after the alias was set; read back and confirmed"}
    return (_confirm(registry, sequence, promotion, RECONCILER, finished),)


def note_drift(registry: Registry, sequence: str, alias: Alias) -> LogEntry | None:
    """Write down that an alias is not where our rows say; None where it is, or that is written."""
    payload = _drift(registry, sequence, alias)
    if payload is None:
        return None
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        known = decided.last_drift(session, owner, alias)
        if known is not None and known.payload == payload:
            return None
    return record(registry, sequence, "drift", RECONCILER, payload, alias=alias)


def refuse_drift(registry: Registry, sequence: str, alias: Alias) -> None:
    """Return if an alias is where our rows say.

    Raises:
        CheckFailed: it was moved in MLflow, by whomever.
    """
    payload = _drift(registry, sequence, alias)
    if payload is None:
        return
    if note_drift(registry, sequence, alias) is not None:
        ledger.anchor(registry, sequence)
    found = payload["found_model_version"]
    there = "was taken away" if found is None else f"was moved to model version {found}"
    ours = decided.shown_version(_serving(registry, sequence, alias))
    raise CheckFailed(
        "drift",
        f"{sequence}@{alias} {there} in MLflow, while by our log it is {ours};"
        " `lori doctor --repair` puts it back",
    )


def _confirm(
    registry: Registry, sequence: str, promotion: int, actor: str, payload: Json
) -> LogEntry:
    """The alias is set and read back: set `previous` beside it, and say that it happened."""
    with registry._database.reading() as session:
        row = decided.promotion_row(session, promotion)
        alias, before, after = decided.alias_of(row), row.from_version, row.to_version
    if alias == "champion" and before is not None:
        _put(registry, sequence, "previous", before)
    made = {"from_version": before, "to_version": after, **payload}
    entry = record(registry, sequence, "applied", actor, made, promotion)
    ledger.anchor(registry, sequence)
    return entry


def _drift(registry: Registry, sequence: str, alias: Alias) -> dict[str, object] | None:
    expected = _serving(registry, sequence, alias)
    wanted = None if expected is None else model_version(registry, sequence, expected)
    found = registry.aliases().get_alias(registry.model_name(sequence), alias)
    if found == wanted:
        return None
    return {
        "alias": alias,
        "expected": expected,
        "expected_model_version": wanted,
        "found_model_version": found,
    }


def _serving(registry: Registry, sequence: str, alias: Alias) -> int | None:
    with registry._database.reading() as session:
        return decided.serving(session, lineage.known_sequence(session, sequence), alias)


def _put(registry: Registry, sequence: str, alias: Alias, version: int | None) -> None:
    model, store = registry.model_name(sequence), registry.aliases()
    if version is None:
        store.delete_alias(model, alias)
    else:
        store.set_alias(model, alias, model_version(registry, sequence, version))
