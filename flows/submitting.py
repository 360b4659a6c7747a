"""`lori submit FILE`: a file is checked and queued now, here or at the server of a registry."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from flows.arriving import Prepared, Sent, examine, keep
from flows.room import HomeOfARun
from flows.submitted_file import content_of, file_document, sequence_named
from lori_core.errors import BadInput, without_rows
from registry.arrival_records import Arrival, Outcome, Submission
from registry.arrivals import Arrivals
from registry.desks import Opened, acting, open_desk, opened, refuse_unless_allowed
from registry.plain import one_line
from registry.records import Json
from registry.roles import may
from registry.settings import registry_server
from registry.store import Registry, open_registry, registry_exists

PATIENCE = 15.0
"""Seconds a server's dispatcher, which looks every five, is waited for."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a file that was submitted."""

    submission: Submission

    sequence: str

    arrivals: tuple[Arrival, ...]
    """Those its tasks are, new or there before."""

    notes: tuple[str, ...]
    """What the sender should know."""

    place: str
    """The home, or the server."""

    def arrival(self, outcome: Outcome) -> Arrival | None:
        """The arrival one of its tasks is."""
        return next((each for each in self.arrivals if each.id == outcome.arrival), None)


def submit(file: Path, home: Path, *, priority: int, again: bool) -> Submitted:
    """Queue what is new in a file. A refused file leaves nothing behind.

    Args:
        file: a sequence file, or a task file for a sequence that is known.
        home: where it is learned, unless a server keeps the registry.
        priority: higher ones go first within their sequence.
        again: learn tasks that are there already once more, under a new name.

    Raises:
        BadInput: something is wrong with the file or what it names.
        CheckFailed: who acts may not submit.
    """
    document = file_document(file)
    content = content_of(document)
    sequence = sequence_named(content[1], content[0])
    folder = file.resolve().parent
    if registry_server():
        return _submit_there(document, sequence, folder, priority=priority, again=again)
    with HomeOfARun(home) as place:
        refuse_unless_allowed(home, "submit")
        sent = Sent(document, "command", folder, again)
        if registry_exists(home):
            with open_registry(home) as registry:
                sent = replace(sent, may_promote=may(acting(registry), "promote"))
                place.prepare()
                prepared = examine(registry, home, sent, whole=True)
        else:
            place.prepare()
            prepared = examine(None, home, sent, whole=True)
        place.accept()
        with open_registry(home) as registry:
            here = opened(registry, acting(registry))
            # before a dispatcher sees it: its host may not have the files
            keep(home, prepared)
            submission = here.queue.submit(
                document, source="command", folder=str(folder), priority=priority, again=again
            )
            settled = _settle(registry, submission, prepared)
            return _told(here, settled, sequence, prepared.notes)


def _settle(registry: Registry, submission: Submission, prepared: Prepared) -> Submission:
    """Make the arrivals; where somebody was faster, refuse the submission and say so."""
    try:
        return Arrivals(registry).accept(submission.id, prepared.tasks, prepared.learned)
    except BadInput as refusal:
        Arrivals(registry).refuse(submission.id, one_line(without_rows(refusal)))
        raise


def _submit_there(
    document: Json, sequence: str, folder: Path, *, priority: int, again: bool
) -> Submitted:
    with open_desk() as there:
        submission = there.queue.submit(
            document, source="api", folder=str(folder), priority=priority, again=again
        )
        deadline = time.monotonic() + PATIENCE
        while submission.state == "received" and time.monotonic() < deadline:
            time.sleep(0.5)
            submission = there.queue.submission(submission.id)
        if submission.state == "refused":
            from registry.api_client import RefusedThere

            raise RefusedThere(str(submission.reason))
        return _told(there, submission, sequence, ())


def _told(here: Opened, submission: Submission, sequence: str, notes: tuple[str, ...]) -> Submitted:
    numbers = [each.arrival for each in submission.outcome if each.arrival is not None]
    arrivals = tuple(here.queue.arrival(number) for number in numbers)
    blocked = here.queue.blocked().get(sequence)
    held = {each.sequence: each for each in here.queue.held_sequences()}.get(sequence)
    if blocked is not None:
        notes += (
            f"{sequence} goes on once arrival {blocked}, which failed, is retried or cancelled: "
            f"`lori retry {blocked}`, `lori cancel {blocked}`.",
        )
    if held is not None:
        notes += (f"{sequence} is held ({held.reason}): `lori release {sequence}`.",)
    return Submitted(submission, sequence, arrivals, notes, here.place)


def outcome_line(found: Submitted, outcome: Outcome) -> str:
    """What became of one task, for people."""
    task = f"{found.sequence}: {outcome.task}"
    arrival = found.arrival(outcome)
    version = outcome.version or (None if arrival is None else arrival.version)
    if version is not None:
        return f"{task} is learned already, as {found.sequence}/{version}"
    if outcome.new:
        return f"{task} waits as arrival {outcome.arrival}"
    state = "" if arrival is None else f" ({arrival.state})"
    return f"{task} is there already, as arrival {outcome.arrival}{state}"
