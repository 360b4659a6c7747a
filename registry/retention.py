"""What must be kept: nothing that served, serves, may soon, or that another version stands on.

Deleting through us asks here first. MLflow can still delete behind our back, and its gc destroys
what was deleted: `lori doctor` tells while there is time.
"""

from collections.abc import Mapping

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from lori_core.errors import CheckFailed
from registry import applying, ledger, lineage, outbox
from registry.arrival_models import ArrivalRow
from registry.decision_models import ConfirmationRow, EventRow, PromotionRow
from registry.decisions import Actor
from registry.models import Adapter, Evaluation, Mask, Note, Sequence, Version
from registry.plain import plain_text
from registry.records import FiledVersion
from registry.roles import allow
from registry.store import Registry


def needed(registry: Registry, sequence: str) -> Mapping[int, tuple[str, ...]]:
    """Version -> why it must be kept, a sentence each; empty for one that may be deleted."""
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        return _needed(session, owner)


def delete_version(
    registry: Registry, sequence: str, number: int, *, actor: Actor, reason: str
) -> FiledVersion:
    """Delete a version that nothing needs: in MLflow, our row of it, its cells, then its bytes.

    The log keeps what it was, who deleted it and why, from the moment our row is gone. Killed
    half-way, it is run again; or the doctor puts the model version back (before our row is gone) or
    clears the rest away (after).

    Args:
        registry: where it is filed.
        sequence: whose version.
        number: which.
        actor: who deletes it.
        reason: why.

    Returns:
        the version as it was.

    Raises:
        CheckFailed: `retention`: something needs it, and what; `role`: the actor may not.
        BadInput: there is no such version.
    """
    allow(actor, "delete")
    said = plain_text("reason", reason)
    registry.version(sequence, number)  # a name that is none never becomes a lock
    with (
        registry._database.exclusive(applying.alias_lock(sequence)),
        registry._database.exclusive(f"file-{sequence}"),
    ):
        with registry._database.reading() as session:
            row = lineage.version_row(session, sequence, number)
            version = lineage.filed_version(row)
            if why := _needed(session, row.sequence)[number]:
                raise CheckFailed(
                    "retention", f"{sequence}/{number} must be kept: {'; '.join(why)}"
                )
        model = registry.model_name(sequence)
        stockroom = registry.stockroom()
        held = stockroom.inventory(model)
        for stored in held.versions.values():
            if stored.model_id is not None and stored.model_id == version.model_id:
                stockroom.delete_version(model, stored.number)
        _forget(registry, version, actor, said)
        ledger.anchor(registry, sequence)
        if version.model_id is not None and version.model_id in held.uploads:
            registry._artifacts().discard(version.model_id)
        for run in held.runs:
            if run.key == version.idem_key and not run.deleted:
                stockroom.delete_run(run.run_id)
        return version


def _needed(session: Session, owner: Sequence) -> dict[int, tuple[str, ...]]:
    numbers = [row.number for row in owner.versions]
    why: dict[int, list[str]] = {number: [] for number in numbers}
    for number in numbers[:-1]:
        why[number].append(_stands_on(owner, numbers[-1]))
    for state, number in _moves(session, owner):
        if number in why and state not in {"rejected", "failed"}:
            told = {"applied": "it served by a promotion that was applied"}
            why[number].append(told.get(state, "a promotion of it is under way"))
    loaded = select(ConfirmationRow.number).where(ConfirmationRow.sequence_id == owner.id)
    for number in session.scalars(loaded.distinct()):
        if number in why:
            why[number].append("a server said that it loaded it")
    return {number: tuple(dict.fromkeys(reasons)) for number, reasons in why.items()}


def _stands_on(owner: Sequence, last: int) -> str:
    if owner.adapter.get("protection") == "separate":
        return f"version {last} was filed after it, and versions leave no gap"
    return f"version {last} was trained on it and reads what it wrote"


def _moves(session: Session, owner: Sequence) -> list[tuple[str, int]]:
    """How each promotion ended, and each version it moved an alias to or from."""
    ended = select(EventRow.promotion_id, EventRow.kind).where(
        EventRow.sequence_id == owner.id, EventRow.promotion_id.is_not(None)
    )
    state = {
        row.promotion_id: row.kind for row in session.execute(ended.order_by(EventRow.position))
    }
    moved = select(PromotionRow).where(PromotionRow.sequence_id == owner.id)
    found = []
    for row in session.scalars(moved):
        kind = state.get(row.id, "requested")
        found.append((kind, row.to_version))
        if kind == "applied" and row.from_version is not None:
            found.append((kind, row.from_version))
    return found


def _forget(registry: Registry, version: FiledVersion, actor: Actor, reason: str) -> None:
    sequence, number = version.sequence, version.version
    with registry._database.writing() as session:
        row = lineage.version_row(session, sequence, number)
        facts = {
            "version": number,
            "task": version.task,
            "manifest_sha256": version.manifest_sha256,
            "adapter_sha256": version.adapter_sha256,
            "reason": reason,
        }
        entry = ledger.append(session, row.sequence, "deleted", actor.name, facts)
        outbox.enqueue(session, row.sequence, "deleted", applying.told(sequence, entry, None))
        session.execute(
            delete(Evaluation).where(
                Evaluation.sequence_id == row.sequence_id, Evaluation.version == number
            )
        )
        session.execute(delete(Note).where(Note.version_id == row.id))
        adapter, certificate = row.adapter, row.certificate
        session.delete(row)
        session.flush()
        used = select(Version.id).where(Version.adapter_id == adapter.id).limit(1)
        if session.scalar(used) is None:
            session.execute(delete(Mask).where(Mask.adapter_id == adapter.id))
            session.execute(delete(Adapter).where(Adapter.id == adapter.id))
        session.delete(certificate)
        session.execute(  # the task may be submitted again: it is learned no more
            update(ArrivalRow)
            .where(
                ArrivalRow.sequence == sequence,
                ArrivalRow.version == number,
                ArrivalRow.state == "learned",
            )
            .values(state="cancelled", version=None, reason=f"{sequence}/{number} was deleted")
        )
