"""Moving an alias so that a kill at any moment leaves something that can be told and ended.

    applying   our row says what is about to happen
               MLflow's alias is set, then read back
    applied    our row says that it happened; or `failed`, and why

Who dies between the first and the last leaves `applying` behind. The next decision about the
sequence (or `lori doctor`) ends it: an alias that was set is confirmed, one that was not is given up.

Where an alias is, is told by content: MLflow's number counts where it serves our upload, because
numbers begin again when a name is made anew. What serves by our rows changes only in the transaction
that finds there what the promotion was decided on, so that a lost lock loses no update.

`previous` is a convenience beside the champion: where it cannot be set nothing else waits for it, and
it shows as drift.

Every function here but `reconcile`, `reconcile_all` and `restore_aliases` is called under `alias_lock`.
"""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from lori_core.errors import CheckFailed, LoriError
from registry import decided, ledger, lineage, outbox
from registry.decision_models import EventRow, PromotionRow
from registry.decisions import BARE_BASE, Actor, Alias, EventKind, LogEntry
from registry.models import Sequence
from registry.moves import previous_with
from registry.records import Json
from registry.soundness import faults
from registry.store import Registry

RECONCILER = "(reconciler)"
"""The log's name for whoever ends what another began; no account can have it."""

ALIASES: tuple[Alias, ...] = ("champion", "candidate", "previous")

_ENDED = ("applied", "failed", "rejected")
"""Steps after which a promotion stays as it is."""


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
        CheckFailed: MLflow lost the version, the alias is another one when it is read back, or
            meanwhile another ended this promotion or moved what serves.
        BadInput: MLflow does not answer; the promotion is ended when it does.
    """
    with registry._database.reading() as session:
        row = decided.promotion_row(session, promotion)
        alias, version = decided.alias_of(row), row.to_version
    try:
        wanted = _set(registry, sequence, alias, version)
        found = registry.aliases().get_alias(registry.model_name(sequence), alias)
        if found != wanted or not _serves(registry, sequence, version, wanted):
            there = found if found != wanted else f"{found}, made anew,"
            raise CheckFailed(
                "read back", f"{sequence}@{alias} is {there} in MLflow after {wanted} was set"
            )
    except CheckFailed as refusal:
        give_up(registry, sequence, promotion, actor, str(refusal))
        raise
    _confirm(registry, sequence, promotion, actor, {})


def give_up(
    registry: Registry, sequence: str, promotion: int, actor: str, why: str
) -> tuple[LogEntry, ...]:
    """Say that a promotion will not happen; nothing, where it ended already."""
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, sequence)
        row = decided.promotion_row(session, promotion)
        if decided.newest_step(session, row) in _ENDED:
            return ()
        entry = _write(session, owner, "failed", actor, {"why": why}, row)
    ledger.anchor(registry, sequence)
    return (entry,)


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
        return _write(session, owner, kind, actor, payload, row, alias=alias)


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

    Raises:
        CheckFailed: the log is broken: nothing can be told from it.
    """
    registry.sequence(sequence)
    with registry._database.exclusive(alias_lock(sequence)):
        ledger.refuse_broken(registry, sequence)
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
    found: list[LogEntry] = []
    refused: CheckFailed | None = None
    for name in sequences:
        try:
            found.extend(reconcile(registry, name))
        except CheckFailed as refusal:  # one broken log holds up no other sequence
            refused = refused or refusal
    if refused is not None:
        raise refused
    return tuple(found)


def restore_aliases(registry: Registry, sequence: str, actor: Actor) -> tuple[LogEntry, ...]:
    """Point MLflow's aliases back to where our rows say they are; the log tells of each.

    Raises:
        CheckFailed: the log is broken; or what our rows say serves is no longer what was certified,
            or the alias is moved again while it is put back. The aliases before it are put back.
    """
    reconcile(registry, sequence)
    with registry._database.exclusive(alias_lock(sequence)):
        found = [put_back(registry, sequence, alias, actor.name) for alias in ALIASES]
        ledger.anchor(registry, sequence)
    return tuple(entry for entry in found if entry is not None)


def put_back(
    registry: Registry, sequence: str, alias: Alias, actor: str, broken: str | None = None
) -> LogEntry | None:
    """Point one alias back to where our rows say; None where it is there.

    The entry tells of `broken`, the first fault of a log on which this is done all the same.

    Raises:
        CheckFailed: what our rows say serves is no longer what was certified, or MLflow lost it, or
            the alias is moved again while it is put back.
    """
    drift = _drift(registry, sequence, alias)
    if drift is None:
        return None
    version = _serving(registry, sequence, alias)
    if version is not None:
        check_sound(registry, sequence, version)
    _put(registry, sequence, alias, version)
    if (again := _drift(registry, sequence, alias)) is not None:
        there = again["found_model_version"]
        raise CheckFailed("read back", f"{sequence}@{alias} is {there} in MLflow again")
    told = {**drift, "mended": True, **({} if broken is None else {"log_broken": broken})}
    return record(registry, sequence, "drift", actor, told, alias=alias)


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
    try:
        if found != model_version(registry, sequence, after):
            why = f"interrupted before {sequence}@{alias} was set; what served still serves"
            return give_up(registry, sequence, promotion, RECONCILER, why)
        if not _serves(registry, sequence, after, found):
            raise _made_anew(registry, sequence, after, found)
        check_sound(registry, sequence, after)
    except CheckFailed as refusal:
        taken = _take_back(registry, sequence, alias, before)
        why = f"interrupted, and {taken}: {refusal}"
        return give_up(registry, sequence, promotion, RECONCILER, why)
    finished = {"recovered": "interrupted after the alias was set; read back and confirmed"}
    try:
        return (_confirm(registry, sequence, promotion, RECONCILER, finished),)
    except CheckFailed:  # the log tells why, and every decision looks at what serves now
        return ()


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
    if "made_anew" in payload:
        there = f"is at model version {found}, which was made anew and serves other files"
    ours = decided.shown_version(_serving(registry, sequence, alias))
    raise CheckFailed(
        "drift",
        f"{sequence}@{alias} {there} in MLflow, while by our log it is {ours};"
        " `lori doctor --repair` puts it back",
    )


def _confirm(
    registry: Registry, sequence: str, promotion: int, actor: str, payload: Json
) -> LogEntry:
    """The alias is set and read back: set `previous` beside it, and say that it happened.

    Raises:
        CheckFailed: meanwhile another ended this promotion, or moved what serves. The alias is put
            back to what serves by our rows, and the promotion has failed.
    """
    with registry._database.reading() as session:
        row = decided.promotion_row(session, promotion)
        alias, before, after = decided.alias_of(row), row.from_version, row.to_version
        owner = lineage.known_sequence(session, sequence)
        behind = previous_with(session, owner, (row.kind, before, after))
    if alias == "champion" and before is not None:
        _follow(registry, sequence, behind)
    made = {"from_version": before, "to_version": after, **payload}
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, sequence)
        row = decided.promotion_row(session, promotion)
        step, there = (
            decided.newest_step(session, row),
            decided.serving_entry(session, owner, alias),
        )
        serves = decided.serving_by_log(session, owner, alias)
        entry = None
        if step == "applying" and serves == before:
            entry = _write(session, owner, "applied", actor, made, row)
        elif there is not None and there.promotion_id == promotion:
            entry = ledger.log_entry(there)  # another ended it for us, and it serves
    if entry is None:
        why = (
            f"moved: {sequence}@{alias} is {decided.shown_version(serves)} and promotion"
            f" {promotion} is {step}, while {decided.shown_version(after)} was set in place of"
            f" {decided.shown_version(before)}"
        )
        taken = _take_back(registry, sequence, alias, serves)
        give_up(registry, sequence, promotion, actor, f"{why}; {taken}")
        raise CheckFailed(alias, why)
    ledger.anchor(registry, sequence)
    return entry


def _write(
    session: Session,
    owner: Sequence,
    kind: EventKind,
    actor: str,
    payload: Json,
    row: PromotionRow | None,
    *,
    alias: Alias | None = None,
) -> LogEntry:
    entry = ledger.append(session, owner, kind, actor, payload, row, alias=alias)
    outbox.enqueue(session, owner, kind, told(owner.name, entry, row))
    return entry


def _drift(registry: Registry, sequence: str, alias: Alias) -> dict[str, object] | None:
    expected = _serving(registry, sequence, alias)
    wanted = None if expected is None else model_version(registry, sequence, expected)
    found = registry.aliases().get_alias(registry.model_name(sequence), alias)
    anew = False
    if found == wanted:
        if expected is None or found is None or _serves(registry, sequence, expected, found):
            return None
        anew = True
    return {
        "alias": alias,
        "expected": expected,
        "expected_model_version": wanted,
        "found_model_version": found,
        **({"made_anew": True} if anew else {}),
    }


def _serving(registry: Registry, sequence: str, alias: Alias) -> int | None:
    with registry._database.reading() as session:
        return decided.serving_by_log(session, lineage.known_sequence(session, sequence), alias)


def _put(registry: Registry, sequence: str, alias: Alias, version: int | None) -> None:
    if version is None:
        registry.aliases().delete_alias(registry.model_name(sequence), alias)
    else:
        _set(registry, sequence, alias, version)


def _follow(registry: Registry, sequence: str, version: int | None) -> None:
    """Point `previous` at what served before; nowhere, where that cannot be. Nothing waits for it."""
    try:
        _put(registry, sequence, "previous", version)
    except LoriError:
        try:
            _put(registry, sequence, "previous", None)
        except LoriError:
            return  # it shows as drift, and the doctor puts it right


def _take_back(registry: Registry, sequence: str, alias: Alias, version: int | None) -> str:
    """Point an alias away from what must not serve: to `version`, else nowhere; what was done."""
    try:
        _put(registry, sequence, alias, version)
    except CheckFailed as lost:
        _put(registry, sequence, alias, None)
        return f"taken away, for {decided.shown_version(version)} is lost ({lost})"
    return "taken back"


def _serves(registry: Registry, sequence: str, version: int, number: int) -> bool:
    """Whether MLflow's version of a number serves the upload of this version of ours."""
    if version == BARE_BASE:  # which is looked up by its content each time
        return number == registry.base_version(sequence)
    ours = registry.version(sequence, version).model_id
    model = registry.model_name(sequence)
    return ours is not None and registry.aliases().serves(model, number, ours)


def _made_anew(registry: Registry, sequence: str, version: int, number: int) -> CheckFailed:
    return CheckFailed(
        "mlflow",
        f"version {number} of {registry.model_name(sequence)} is not {sequence}/{version} any more:"
        " it was deleted, or the name was made anew; `lori doctor --repair` files it again",
    )


def _set(registry: Registry, sequence: str, alias: Alias, version: int) -> int:
    """Point an alias at MLflow's version of a version of ours, if it is that still.

    Raises:
        CheckFailed: MLflow's version is gone, or serves another model: the name was made anew.
    """
    wanted = model_version(registry, sequence, version)
    if not _serves(registry, sequence, version, wanted):
        raise _made_anew(registry, sequence, version, wanted)
    registry.aliases().set_alias(registry.model_name(sequence), alias, wanted)
    return wanted
