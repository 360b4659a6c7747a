"""The queue for people: a table of what runs, waits and was, and lines for what holds it up."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flows.standing import Standing
from flows.submitted_file import content_of, sequence_named
from flows.times import shown
from lori_core.errors import BadInput
from registry.arrival_records import Submission
from registry.clock import now
from registry.desks import QueueBook
from registry.queue_standing import Progress, QueueItem

if TYPE_CHECKING:
    from rich.table import Table

REFUSED = 50
"""Submissions looked at for those that were refused of late."""

SHOWN, SHOWN_OF_ONE = 10, 3
"""Refused ones that are told: of all sequences, and beside one that was asked for."""

RECENTLY = timedelta(days=1)


def queue_table(rows: Sequence[Standing]) -> "Table | None":
    """What was, runs and waits, of every sequence; None where nothing ever came."""
    from rich.table import Table

    table = Table()
    for column in (
        *("arrival", "sequence", "task", "state", "priority"),
        *("progress", "submitted", "ended or expected"),
    ):
        table.add_column(column, overflow="fold")  # a narrow one takes nothing from a time
    for row in rows:
        queue = row["queue"]
        for item in (*queue["history"], *queue["items"]):
            table.add_row(
                str(item["arrival"]),
                row["sequence"],
                item["task"],
                "held" if item["held"] else item["state"],
                str(item["priority"]),
                progress_text(item),
                _moment(item["submitted"]),
                done_text(item),
            )
    return table if table.row_count else None


def progress_text(item: QueueItem) -> str:
    """`train 40/120, about 3 min left`; or what keeps it waiting; or what it became."""
    if item["state"] == "learned":
        return f"version {item['version']}"
    if item["state"] == "dispatched":
        return "waits for a worker"
    if item["silent_seconds"] is not None:
        return silence_text(item["silent_seconds"])
    if item["progress"] is not None:
        return stage_text(item["progress"])
    if item["state"] == "waiting" and item["not_before"] is not None:
        return f"again from {_moment(item['not_before'])}"
    return "–"


def silence_text(seconds: float) -> str:
    """What is said of a run that gives no sign of life."""
    return f"no sign of life for {span_text(seconds)}"


def stage_text(progress: Progress) -> str:
    """How far a stage is."""
    if not progress["total"]:
        return progress["stage"]
    told = f"{progress['stage']} {progress['done']}/{progress['total']}"
    left = progress["seconds_left"]
    return told if left is None else f"{told}, about {span_text(left)} left"


def done_text(item: QueueItem) -> str:
    """When it was over, or when that is expected."""
    if item["finished"] is not None:
        return _moment(item["finished"])
    return "–" if item["expected"] is None else f"about {_moment(item['expected'])}"


def queue_lines(row: Standing) -> Iterator[str]:
    """What holds a sequence up, and why an arrival is where it is."""
    queue, name = row["queue"], row["sequence"]
    if (held := queue["held"]) is not None:
        yield f"{name} is held by {held['by']}: {held['reason']}. `lori release {name}` lets it go on."
    for item in queue["items"]:
        number = item["arrival"]
        if item["state"] == "failed":
            yield (
                f"{name} waits: arrival {number} ({item['task']}) failed: {item['reason']} "
                f"`lori retry {number}`, or `lori cancel {number}` to go on without it."
            )
        elif item["silent_seconds"] is not None:
            yield (
                f"arrival {number} ({item['task']}): {silence_text(item['silent_seconds'])}. "
                "Once its lease is over it is given out again."
            )
        elif (line := _put_off(item)) is not None:
            yield f"arrival {number} ({item['task']}): {line}"


def _put_off(item: QueueItem) -> str | None:
    """Why an arrival is passed over, and until when; None where nothing is to be said."""
    if item["state"] == "waiting" and item["not_before"] is not None:
        again = f"again from {_moment(item['not_before'])}"
        told = f"attempt {item['attempt']} ended; {again}" if item["attempt"] else again
        return told if item["reason"] is None else f"{told}: {item['reason']}"
    return item["reason"] if item["held"] or item["not_before"] is not None else None


def refused_lines(queue: QueueBook, sequence: str | None = None) -> Iterator[str]:
    """Submissions that were refused of late, which whoever scheduled or dropped them did not see.

    The newest first, a few of them. With a sequence, those that name it, or that cannot be read.
    """
    since, most = now() - RECENTLY, SHOWN if sequence is None else SHOWN_OF_ONE
    there = [
        sent
        for sent in reversed(queue.submissions(REFUSED))
        if sent.state == "refused"
        and sent.created > since
        and (sequence is None or _sequence_of(sent) in (None, sequence))
    ]
    for sent in there[:most]:
        yield f"submission {sent.id} ({sent.source}, {shown(sent.created)}) was refused: {sent.reason}"
    if len(there) > most:
        yield f"{len(there) - most} more submissions were refused of late"


def _sequence_of(sent: Submission) -> str | None:
    """The sequence a submission names; None where that cannot be told."""
    try:
        return sequence_named(content_of(sent.document)[1], "submission")
    except BadInput:
        return None


def span_text(seconds: float) -> str:
    """`40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _moment(text: str) -> str:
    return shown(datetime.fromisoformat(text))
