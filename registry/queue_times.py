"""How far a running task is, and when those behind it should be learned: sums over rows, no database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from registry.arrival_records import ArrivalState
from registry.records import Json

RECENT = 5
"""Learned arrivals whose times tell how long the next will take."""

SILENT = timedelta(seconds=30)
"""After so long without a sign of life one was missed: a run that lives gives one every 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """How far a running arrival is in its stage."""

    stage: str
    done: int
    total: int
    """0 while it is unknown."""
    text: str
    seconds_left: float | None
    """Of this stage, at its pace when the run was last heard of; None while there is none."""


class InTurn(Protocol):
    """What is asked of an arrival to say when it should be learned."""

    @property
    def state(self) -> ArrivalState: ...  # noqa: D102
    @property
    def held(self) -> bool: ...  # noqa: D102
    @property
    def started(self) -> datetime | None: ...  # noqa: D102
    @property
    def heartbeat(self) -> datetime | None: ...  # noqa: D102
    @property
    def not_before(self) -> datetime | None: ...  # noqa: D102


def silent_seconds(state: str, heartbeat: datetime | None, now: datetime) -> float | None:
    """How long a run gave no sign of life, once one was missed; None while it lives or none runs."""
    if state != "running" or heartbeat is None or now - heartbeat <= SILENT:
        return None
    return (now - heartbeat).total_seconds()


def progress_of(told: Json, now: datetime, heard: datetime | None = None) -> StageProgress | None:
    """What a run last said of itself; None before it said anything.

    Args:
        told: the words of the run.
        now: the time.
        heard: when it said so; None for now. What is long ago tells nothing of what is left.
    """
    if "stage" not in told:
        return None
    done, total = _count(told.get("done")), _count(told.get("total"))
    since = told.get("since")
    left = None
    at = now if heard is None else min(heard, now)
    if isinstance(since, str) and 0 < done <= total and now - at <= SILENT:
        spent = (at - datetime.fromisoformat(since)).total_seconds()
        left = max(spent, 0.0) / done * (total - done)
    return StageProgress(
        stage=str(told["stage"]),
        done=done,
        total=total,
        text=str(told.get("text", "")),
        seconds_left=left,
    )


def mean_seconds(spans: Iterable[tuple[datetime | None, datetime | None]]) -> float | None:
    """The mean of spans from a start to an end; None where none has both."""
    known = [
        (finished - started).total_seconds()
        for started, finished in spans
        if started is not None and finished is not None
    ]
    return sum(known) / len(known) if known else None


def expected_times(
    there: Sequence[InTurn], seconds: float | None, now: datetime
) -> tuple[datetime | None, ...]:
    """When each should be learned: one after the other, each as long as those before it took.

    Behind a run that gives no sign of life nobody knows.

    Args:
        there: in the order of their turns.
        seconds: what a task takes; None where nobody knows, or where nothing is given out.
        now: the time.
    """
    if seconds is None:
        return (None,) * len(there)
    span, free = timedelta(seconds=seconds), now
    found: list[datetime | None] = []
    for each in there:
        if silent_seconds(each.state, each.heartbeat, now) is not None:
            return (None,) * len(there)
        if each.held or each.state == "failed":
            found.append(None)
            continue
        begun = each.started if each.state == "running" and each.started is not None else free
        free = max(begun + span, now)
        if each.not_before is not None:
            free = max(free, each.not_before + span)
        found.append(free)
    return tuple(found)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
