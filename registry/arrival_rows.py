"""Rows of submissions and arrivals as records, and what may be written into them."""

import json
import math
from collections.abc import Mapping
from typing import cast

from lori_core.errors import BadInput
from registry.arrival_models import ArrivalRow, HeldSequenceRow, SubmissionRow, WatchRow
from registry.arrival_records import (
    Arrival,
    ArrivalState,
    HeldSequence,
    Outcome,
    Source,
    Submission,
    SubmissionState,
    Watch,
)
from registry.plain import LONGEST, one_line
from registry.records import Json
from registry.tables import JsonDict


def plain_json(what: str, value: Json) -> JsonDict:
    """A document as every store holds it.

    Raises:
        BadInput: it holds what JSON has not: dates, NaN, keys that are no text.
    """
    try:
        return cast(JsonDict, json.loads(json.dumps(dict(value), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise BadInput(f"{what} ({error})", "plain JSON") from error


def finite(value: Json) -> JsonDict:
    """A progress report as every store holds it: a loss that is no number any more is null."""
    return {key: _finite(each) for key, each in value.items()}


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def said(reason: str) -> str:
    """A reason in one line that every column and page can show, whoever made it up."""
    return one_line(reason, longest=LONGEST)


def outcome_document(outcome: Outcome) -> JsonDict:
    """An outcome as its column holds it."""
    return {
        "task": outcome.task,
        "arrival": outcome.arrival,
        "version": outcome.version,
        "new": outcome.new,
    }


def _outcome(document: Mapping[str, object]) -> Outcome:
    return Outcome(
        task=cast(str, document["task"]),
        arrival=cast(int | None, document["arrival"]),
        version=cast(int | None, document["version"]),
        new=cast(bool, document["new"]),
    )


def submission_record(row: SubmissionRow) -> Submission:
    """A submission as the boundary has it."""
    return Submission(
        id=row.id,
        source=cast(Source, row.source),
        state=cast(SubmissionState, row.state),
        document=row.document,
        folder=row.folder,
        priority=row.priority,
        again=row.again,
        submitted_by=row.submitted_by,
        reason=row.reason,
        outcome=tuple(_outcome(each) for each in row.outcome),
        created=row.created,
        settled=row.settled,
    )


def arrival_record(row: ArrivalRow) -> Arrival:
    """An arrival as the boundary has it."""
    return Arrival(
        id=row.id,
        submission_id=row.submission_id,
        sequence=row.sequence,
        task=row.task,
        state=cast(ArrivalState, row.state),
        held=row.held,
        priority=row.priority,
        document=row.document,
        content=row.content,
        data=cast(Mapping[str, str], row.data),
        queue=row.queue,
        attempt=row.attempt,
        lost=row.lost,
        token=row.token,
        flow_run_id=row.flow_run_id,
        holder=row.holder,
        lease_until=row.lease_until,
        heartbeat=row.heartbeat,
        not_before=row.not_before,
        progress=row.progress,
        version=row.version,
        reason=row.reason,
        cancel_requested=row.cancel_requested,
        created=row.created,
        dispatched=row.dispatched,
        started=row.started,
        finished=row.finished,
    )


def held_record(row: HeldSequenceRow) -> HeldSequence:
    """A held sequence as the boundary has it."""
    return HeldSequence(sequence=row.sequence, reason=row.reason, by=row.by, created=row.created)


def watch_record(row: WatchRow) -> Watch:
    """A watched folder as the boundary has it."""
    return Watch(
        id=row.id,
        folder=row.folder,
        priority=row.priority,
        submitted_by=row.submitted_by,
        created=row.created,
    )
