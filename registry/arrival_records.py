"""What crosses the registry's boundary about submissions and arrivals: plain frozen data.

A *submission* is what was sent; an *arrival* is one task that waits for its turn in a sequence. All
times are aware, UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from registry.records import Json

Source = Literal["command", "api", "event", "schedule", "folder"]
SubmissionState = Literal["received", "accepted", "refused"]
ArrivalState = Literal["waiting", "dispatched", "running", "learned", "failed", "cancelled"]

OUT: frozenset[ArrivalState] = frozenset({"dispatched", "running"})
"""States that have the turn of their sequence."""

OPEN: frozenset[ArrivalState] = OUT | {"waiting", "failed"}
"""States that hold a place in the queue of their sequence."""

DONE: frozenset[ArrivalState] = frozenset({"learned", "cancelled"})
"""States that stand in nobody's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """One prepared task of a submission: validated, its rows snapshotted."""

    sequence: str
    task: str
    document: Json
    """The settings it is learned under, as its submission said them."""
    content: str
    """sha256 over everything that determines what is learned: equal for the same task sent twice."""
    data: Mapping[str, str]
    """Role of rows -> digest of their snapshot."""
    queue: str
    """Which workers may take it: `cpu`, `gpu-1`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one task of a submission."""

    task: str
    arrival: int | None
    """The arrival it is now, or the one that has the same content; None where none ever was."""
    version: int | None
    """The version it is learned as; None before that."""
    new: bool
    """True: an arrival was made for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Something that was sent, and what became of it."""

    id: int
    source: Source
    state: SubmissionState
    document: Json
    folder: str | None
    """What relative paths in the document are relative to."""
    priority: int
    again: bool
    """True: learn it even where the same content was learned or waits."""
    submitted_by: str
    reason: str | None
    """Why it was refused, in one line."""
    outcome: tuple[Outcome, ...]
    created: datetime
    settled: datetime | None
    """When it was accepted or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One task that waits for its turn in a sequence, has it, or had it."""

    id: int
    submission_id: int | None
    sequence: str
    task: str
    state: ArrivalState
    held: bool
    """True: it is passed over until it is released."""
    priority: int
    """Higher goes first; equal ones in the order of their ids."""
    document: Json
    content: str
    data: Mapping[str, str]
    queue: str
    attempt: int
    """Dispatches since it came or was last retried by a person, the orderly leaves not counted."""
    lost: int
    """Those of them that were killed or ended without a word: what lets an arrival fail in the end."""
    token: int
    """The fence: what was begun under an older one can write nothing."""
    flow_run_id: str | None
    holder: str | None
    lease_until: datetime | None
    heartbeat: datetime | None
    not_before: datetime | None
    """It waits at least until then."""
    progress: Json
    version: int | None
    reason: str | None
    """Why it failed, was cancelled, or was put back."""
    cancel_requested: bool
    created: datetime
    dispatched: datetime | None
    started: datetime | None
    """When its last attempt began to run."""
    finished: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSequence:
    """A sequence that gives nothing out until it is released."""

    sequence: str
    reason: str
    by: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A folder whose dropped files are submitted."""

    id: int
    folder: str
    priority: int
    submitted_by: str
    created: datetime
