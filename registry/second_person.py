"""Why somebody may not be the second person of a request, asked of all requests at once, for pages.

The decision itself is the desk's (`registry.promoting`): this says beforehand what it would say.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.errors import CheckFailed
from registry.arrival_models import ArrivalRow, SubmissionRow
from registry.decisions import BARE_BASE, Actor, Promotion
from registry.models import Sequence as SequenceRow
from registry.models import Task
from registry.people import one_person
from registry.roles import allow


def why_not_second(
    session: Session, sequence: SequenceRow, actor: Actor, asked: Sequence[Promotion]
) -> Mapping[int, str | None]:
    """Promotion's id -> why this actor may not approve it; None: he may.

    Args:
        session: to read with.
        sequence: whose requests.
        actor: who would approve.
        asked: requests of this sequence that wait.
    """
    submitted = _submitters(session, sequence, {each.to_version for each in asked})
    return {each.id: _why_not(actor, each, submitted.get(each.to_version, ())) for each in asked}


def _why_not(actor: Actor, asked: Promotion, submitters: Sequence[str]) -> str | None:
    if not actor.account:
        if actor.role == "viewer":
            return "Approving takes an account whose role may."
        return (
            "You own this registry's files, so your word counts once: approving takes an account."
        )
    try:
        allow(actor, "approve")
    except CheckFailed as refusal:
        return f"{refusal.finding}."
    if actor.name == asked.requested_by:
        return "You asked for it: approving takes somebody else."
    if one_person(actor.name, asked.requested_by):
        return f"{asked.requested_by} asked for it, and that could be you by another way in."
    if any(one_person(each, asked.requested_by) for each in actor.vouched_by):
        return (
            f"{asked.requested_by}, who asked for it, made your account, token or password, or that"
            " of who did: that could be one person."
        )
    for each in submitters:
        if one_person(actor.name, each):
            return "You submitted the task it learned: approving takes somebody else."
        if any(one_person(voucher, each) for voucher in actor.vouched_by):
            return (
                f"{each}, who submitted the task it learned, made your account, token or password,"
                " or that of who did: that could be one person."
            )
    return None


def _submitters(
    session: Session, sequence: SequenceRow, versions: set[int]
) -> Mapping[int, Sequence[str]]:
    """Who submitted the task of each of these versions."""
    wanted = (
        select(Task.position, SubmissionRow.submitted_by)
        .join(ArrivalRow, (ArrivalRow.task == Task.name) & (ArrivalRow.sequence == sequence.name))
        .join(SubmissionRow, SubmissionRow.id == ArrivalRow.submission_id)
        .where(
            Task.sequence_id == sequence.id,
            Task.position.in_(sorted(versions - {BARE_BASE})),
            ArrivalRow.state.in_(("running", "learned")),
        )
    )
    found: dict[int, list[str]] = {}
    for position, by in session.execute(wanted):
        found.setdefault(position, []).append(by)
    return found
