"""What waits to be learned, in which order, and whose turn it is: the truth the dispatcher acts on.

A submission becomes arrivals (or is refused); an arrival waits, is dispatched, runs, and is learned,
failed or cancelled:

    waiting → dispatched → running → learned
       ↑___________|___________|         failed (blocks its sequence: order matters), cancelled

Within a sequence strictly by priority, then by id, and one at a time (a unique index holds that on
every database); sequences go side by side. Each time an arrival is given out or put back its token
grows, so that what was begun under an older one is refused (`registry.fence`).
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.errors import BadInput, NotFound
from lori_core.names import check_name
from registry.arrival_models import ArrivalRow, HeldSequenceRow
from registry.arrival_records import OUT, Arrival, ArrivalState, HeldSequence
from registry.arrival_records import NewTask as NewTask
from registry.arrival_records import Outcome as Outcome
from registry.arrival_records import Source as Source
from registry.arrival_records import Submission as Submission
from registry.arrival_records import Watch as Watch
from registry.arrival_rows import arrival_record, finite, held_record, said
from registry.fence import Fence as Fence
from registry.fence import FenceLost as FenceLost
from registry.fence import end_others, moment, still_held
from registry.plain import plain_text, whole_number
from registry.records import Json
from registry.store import Registry
from registry.submissions import Submissions
from registry.turns import (
    MOST_ATTEMPTS,
    blocked_ones,
    end,
    expect,
    fail,
    give_out,
    next_ones,
    over,
    put_back,
    refuse_known_name,
    said_before,
    successor,
    without_a_word,
)
from registry.turns import wait_after as wait_after

LEASE = timedelta(seconds=60)
"""How long a run that says nothing keeps its turn."""


class Arrivals(Submissions):
    """Submissions and arrivals of one registry. It asks no roles: `registry.queueing.Queue` does."""

    def __init__(self, registry: Registry, *, lease: timedelta = LEASE) -> None:
        """Use a registry (no fenced one); `lease` is how long a silent run keeps its turn."""
        super().__init__(registry)
        self.lease = lease

    # Reading

    def arrival(self, arrival_id: int) -> Arrival:
        """One arrival. Raises NotFound when there is none."""
        with self._database.reading() as session:
            return arrival_record(_arrival(session, arrival_id))

    def arrivals(
        self,
        sequence: str | None = None,
        *,
        states: Collection[ArrivalState] | None = None,
        last: int | None = None,
    ) -> tuple[Arrival, ...]:
        """Arrivals in the order they came.

        Args:
            sequence: of one sequence alone.
            states: in these states alone.
            last: only so many of the newest.
        """
        wanted = select(ArrivalRow).order_by(ArrivalRow.id.desc())
        if sequence is not None:
            wanted = wanted.where(ArrivalRow.sequence == check_name("sequence", sequence))
        if states is not None:
            wanted = wanted.where(ArrivalRow.state.in_(states))
        if last is not None:
            wanted = wanted.limit(whole_number("last", last, least=1))
        with self._database.reading() as session:
            rows = session.scalars(wanted).all()
            return tuple(arrival_record(row) for row in reversed(rows))

    def blocked(self) -> Mapping[str, int]:
        """Sequence -> the failed arrival that blocks it, until that is retried or cancelled."""
        with self._database.reading() as session:
            return blocked_ones(session)

    # Giving out

    def dispatch(self) -> tuple[Arrival, ...]:
        """Give the turn of each idle sequence to its next arrival.

        A sequence gives none out that is held, blocked by a failed arrival, or whose next one has to
        wait for its time: later ones never overtake.

        Returns:
            What is dispatched and has no flow run yet: now, or before a crash. Highest priority first.
        """
        if self.due():
            with self._database.writing() as session:
                now = moment(session)
                for arrival_id in next_ones(session):
                    give_out(_arrival(session, arrival_id), now)
        with self._database.reading() as session:
            rows = session.scalars(
                select(ArrivalRow)
                .where(ArrivalRow.state == "dispatched", ArrivalRow.flow_run_id.is_(None))
                .order_by(ArrivalRow.priority.desc(), ArrivalRow.id)
            )
            return tuple(arrival_record(row) for row in rows)

    def due(self) -> bool:
        """Whether `dispatch` would give something out now."""
        with self._database.reading() as session:
            return bool(next_ones(session))

    def note_flow_run(self, arrival_id: int, token: int, flow_run_id: str) -> None:
        """Remember the flow run of a token; too late for an older one, and then nothing happens."""
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            if row.token == token:
                row.flow_run_id = flow_run_id

    def expire(self, max_attempts: int = MOST_ATTEMPTS) -> tuple[Arrival, ...]:
        """Take the turn from every run whose lease is over; what became of each.

        It waits again, longer after each attempt; is failed when `max_attempts` were lost; or
        cancelled, where that was asked for.
        """
        with self._database.reading() as session:
            if not over(session):
                return ()
        with self._database.writing() as session:
            rows = over(session)
            for row in rows:
                heard = "nothing" if row.heartbeat is None else f"{row.heartbeat:%H:%M:%S} UTC"
                reason = f"its run on {row.holder} was last heard of at {heard}"
                without_a_word(session, row, reason, max_attempts)
            return tuple(arrival_record(row) for row in rows)

    def lost(self, arrival_id: int, token: int, reason: str) -> Arrival:
        """The flow run of a token ended without a word: as `expire`. Nothing for a token that is over."""
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            if row.token == token and row.state in OUT:
                without_a_word(session, row, reason, MOST_ATTEMPTS)
            return arrival_record(row)

    # The run that has the turn

    def take(self, arrival_id: int, token: int, holder: str) -> Fence:
        """Begin to run an arrival that was given out under this token. The same holder may ask again.

        Raises:
            FenceLost: it was given to another, put back or cancelled.
        """
        fence = Fence(arrival=arrival_id, token=token)
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            if row.token != token or row.state not in OUT:
                raise FenceLost(arrival_id, token, f"it is at token {row.token} ({row.state})")
            if row.state == "running":
                if row.holder != holder:
                    raise FenceLost(arrival_id, token, f"{row.holder} runs it")
                still_held(session, fence)
                self._renew(session, row)
            else:
                self._begin(session, row, holder)
        return fence

    def renew(self, fence: Fence, progress: Json) -> bool:
        """Keep the turn for another lease and say how far the run is.

        Returns:
            True: somebody asked to cancel it.

        Raises:
            FenceLost: the turn is over.
        """
        with self._database.writing() as session:
            row = still_held(session, fence)
            row.progress = finite(progress)
            self._renew(session, row)
            return row.cancel_requested

    def cancel_requested(self, fence: Fence) -> bool:
        """Whether somebody asked to cancel the run; a cheap question that keeps no lease.

        Raises:
            FenceLost: the turn is over.
        """
        with self._database.reading() as session:
            return still_held(session, fence).cancel_requested

    def learned(self, fence: Fence, version: int) -> None:
        """The run ended well: its task is this version. Said twice, once is enough."""
        with self._database.writing() as session:
            if said_before(session, fence, "learned"):
                return
            self._learned(session, fence, version)

    def goes_on(self, fence: Fence) -> bool:
        """Whether `learned_and_next` would have something to go on with; nothing is promised.

        Raises:
            FenceLost: the turn is over.
        """
        with self._database.reading() as session:
            return successor(session, still_held(session, fence)) is not None

    def learned_and_next(self, fence: Fence, version: int, holder: str) -> Arrival | None:
        """As `learned`; in the same transaction the same holder takes what comes next, if it may.

        That is the next arrival of the sequence for the same queue, given out by the rules of
        `dispatch` and running from here on, unless another sequence waits for such a worker. It has
        no flow run yet: `note_flow_run`.
        """
        with self._database.writing() as session:
            if said_before(session, fence, "learned"):
                return None
            row = self._learned(session, fence, version)
            session.flush()  # one at a time: this one is over before the next begins
            following = successor(session, row)
            if following is None:
                return None
            give_out(following, moment(session))
            self._begin(session, following, holder)
            return arrival_record(following)

    def _learned(self, session: Session, fence: Fence, version: int) -> ArrivalRow:
        row = still_held(session, fence)
        row.version, row.reason, row.cancel_requested = version, None, False
        end(session, row, "learned")
        return row

    def failed(self, fence: Fence, reason: str) -> None:
        """The run failed in a way that no repetition mends; its sequence waits for a person.

        Where somebody had asked to cancel it, it is cancelled: then nobody has to wait.
        """
        with self._database.writing() as session:
            if said_before(session, fence, "failed"):
                return
            row = still_held(session, fence)
            if row.cancel_requested:
                end(session, row, "cancelled")
            else:
                fail(session, row, reason)

    def cancelled(self, fence: Fence, reason: str) -> None:
        """The run was ended because somebody asked for it; where a row says who, it goes on saying so."""
        with self._database.writing() as session:
            if not said_before(session, fence, "cancelled"):
                row = still_held(session, fence)
                if not row.cancel_requested:
                    row.reason = said(reason)
                end(session, row, "cancelled")

    def give_back(self, fence: Fence, reason: str, *, wait: timedelta, lost: bool = False) -> None:
        """End the run here and let another go on: at once after an orderly leave, else after `wait`.

        An orderly leave (no wait) is no attempt; one with a wait counts as such, and never fails the
        arrival: what may pass is tried until it has. `lost`: a process of it was killed, which counts
        with the attempts that ended without a word.
        """
        with self._database.writing() as session:
            row = still_held(session, fence)
            if not wait:
                row.attempt -= 1
            row.lost += lost
            put_back(session, row, reason, wait)

    def _begin(self, session: Session, row: ArrivalRow, holder: str) -> None:
        row.state, row.holder, row.started = "running", holder, moment(session)
        row.progress = {}
        end_others(session, Fence(arrival=row.id, token=row.token))
        self._renew(session, row)

    def _renew(self, session: Session, row: ArrivalRow) -> None:
        row.heartbeat = moment(session)
        row.lease_until = row.heartbeat + self.lease

    # What people do

    def cancel(self, arrival_id: int, by: str) -> Arrival:
        """Take an arrival out of the queue; a running one is asked to end, and is cancelled then.

        Raises:
            BadInput: it is learned or cancelled already.
        """
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            expect(row, "cancelled", ("waiting", "dispatched", "running", "failed"))
            row.reason = said(f"cancelled by {by}")
            if row.state == "running":
                row.cancel_requested = True
            else:
                row.token += row.state == "dispatched"
                end(session, row, "cancelled")
            return arrival_record(row)

    def retry(self, arrival_id: int, by: str) -> Arrival:
        """Let a failed or cancelled arrival wait for its turn again, or one that waits go at once.

        Raises:
            BadInput: it is out, learned, or in no need of it; or the same task came again meanwhile.
        """
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            if row.state == "waiting" and row.not_before is None:
                raise BadInput(f"arrival {row.id} waits for its turn", "one that failed")
            expect(row, "retried", ("failed", "cancelled", "waiting"))
            if row.state == "cancelled":
                refuse_known_name(session, row.sequence, row.task)
            row.state, row.attempt, row.lost = "waiting", 0, 0
            row.cancel_requested = False
            row.not_before = row.finished = None
            row.reason = said(f"retried by {by}")
            return arrival_record(row)

    def hold(self, arrival_id: int, by: str) -> Arrival:
        """Pass an arrival over until it is released; later ones go on.

        Raises:
            BadInput: it does not wait, or is held.
        """
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            expect(row, "held", ("waiting",))
            if row.held:
                raise BadInput(f"arrival {row.id} is held already", "one that is not")
            row.held, row.reason = True, said(f"held by {by}")
            return arrival_record(row)

    def release(self, arrival_id: int, by: str) -> Arrival:
        """Let a held arrival have its turn again.

        Raises:
            BadInput: it is not held.
        """
        with self._database.writing() as session:
            row = _arrival(session, arrival_id)
            if not row.held:
                raise BadInput(f"arrival {row.id} ({row.state})", "one that is held")
            row.held, row.reason = False, said(f"released by {by}")
            return arrival_record(row)

    def hold_sequence(self, sequence: str, reason: str, by: str) -> HeldSequence:
        """Let a sequence give nothing out until it is released; what is out goes on.

        It need not have learned anything yet.

        Raises:
            BadInput: it is held already.
        """
        check_name("sequence", sequence)
        with self._database.writing() as session:
            if (known := _held(session, sequence)) is not None:
                raise BadInput(
                    f"sequence {sequence!r} is held by {known.by} ({known.reason})",
                    "one that is not held",
                    f"`lori release {sequence}` lets it go on.",
                )
            row = HeldSequenceRow(
                sequence=sequence,
                reason=plain_text("reason", reason),
                by=plain_text("name", by, longest=128),
                created=moment(session),
            )
            session.add(row)
            return held_record(row)

    def release_sequence(self, sequence: str, by: str) -> None:
        """Let a held sequence give out again.

        Raises:
            BadInput: it is not held.
        """
        check_name("sequence", sequence)
        plain_text("name", by, longest=128)
        with self._database.writing() as session:
            row = _held(session, sequence)
            if row is None:
                raise BadInput(f"sequence {sequence!r}", "one that is held")
            session.delete(row)

    def held_sequences(self) -> tuple[HeldSequence, ...]:
        """Sequences that give nothing out, by name."""
        with self._database.reading() as session:
            rows = session.scalars(select(HeldSequenceRow).order_by(HeldSequenceRow.sequence))
            return tuple(held_record(row) for row in rows)


def in_turn(arrivals: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """Arrivals in the order their turn comes: by priority, the highest first, then by id."""
    return tuple(sorted(arrivals, key=lambda each: (-each.priority, each.id)))


def _arrival(session: Session, arrival_id: int) -> ArrivalRow:
    whole_number("arrival", arrival_id)
    row = session.get(ArrivalRow, arrival_id)
    if row is None:
        raise NotFound(
            f"arrival {arrival_id}", "the number of an arrival", "`lori status` lists them."
        )
    return row


def _held(session: Session, sequence: str) -> HeldSequenceRow | None:
    return session.scalar(select(HeldSequenceRow).where(HeldSequenceRow.sequence == sequence))
