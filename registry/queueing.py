"""The queue as people see it: every method asks the actor's role first.

with open_registry() as registry:
    queue = Queue(registry, actor)
    queue.retry(7)
"""

from collections.abc import Collection, Mapping

from registry.arrival_records import (
    Arrival,
    ArrivalState,
    HeldSequence,
    Source,
    Submission,
    Watch,
)
from registry.arrivals import Arrivals
from registry.deciding import refuse_free_hand
from registry.decisions import Actor
from registry.records import Json
from registry.roles import allow, may
from registry.store import Registry


class Queue:
    """What one actor may do with submissions and arrivals."""

    def __init__(self, registry: Registry, actor: Actor) -> None:
        """Sit an actor down at a registry."""
        self.registry = registry
        self.actor = actor
        self._arrivals = Arrivals(registry)

    def submit(
        self,
        document: Json,
        *,
        source: Source,
        folder: str | None,
        priority: int = 0,
        again: bool = False,
    ) -> Submission:
        """Send a document; it is prepared by whoever dispatches (see `submission`)."""
        allow(self.actor, "submit")
        return self._arrivals.receive(
            document,
            source=source,
            folder=folder,
            priority=priority,
            again=again,
            submitted_by=self.actor.name,
        )

    def submission(self, submission_id: int) -> Submission:
        """One submission and what became of it."""
        allow(self.actor, "read")
        return self._arrivals.submission(submission_id)

    def submissions(self, last: int) -> tuple[Submission, ...]:
        """The newest submissions, in the order they came."""
        allow(self.actor, "read")
        return self._arrivals.submissions(last)

    def arrival(self, arrival_id: int) -> Arrival:
        """One arrival."""
        allow(self.actor, "read")
        return self._arrivals.arrival(arrival_id)

    def arrivals(
        self,
        sequence: str | None = None,
        *,
        states: Collection[ArrivalState] | None = None,
        last: int | None = None,
    ) -> tuple[Arrival, ...]:
        """Arrivals in the order they came; see `Arrivals.arrivals`."""
        allow(self.actor, "read")
        return self._arrivals.arrivals(sequence, states=states, last=last)

    def blocked(self) -> Mapping[str, int]:
        """Sequence -> the failed arrival that blocks it."""
        allow(self.actor, "read")
        return self._arrivals.blocked()

    def cancel(self, arrival_id: int) -> Arrival:
        """Take an arrival out of the queue, or ask a running one to end."""
        allow(self.actor, "cancel")
        return self._arrivals.cancel(arrival_id, self.actor.name)

    def retry(self, arrival_id: int) -> Arrival:
        """Let a failed or cancelled arrival wait for its turn again.

        Raises:
            BadInput: it would bring settings back that decide what serves, by who may not change them.
        """
        allow(self.actor, "submit")
        self._refuse_free_hand(arrival_id)
        return self._arrivals.retry(arrival_id, self.actor.name)

    def hold(self, arrival_id: int) -> Arrival:
        """Pass an arrival over until it is released."""
        allow(self.actor, "hold")
        return self._arrivals.hold(arrival_id, self.actor.name)

    def release(self, arrival_id: int) -> Arrival:
        """Let a held arrival have its turn again.

        Raises:
            BadInput: as `retry`.
        """
        allow(self.actor, "hold")
        self._refuse_free_hand(arrival_id)
        return self._arrivals.release(arrival_id, self.actor.name)

    def hold_sequence(self, sequence: str, reason: str) -> HeldSequence:
        """Let a sequence give nothing out until it is released. Raises NotFound for an unknown one."""
        allow(self.actor, "hold")
        self._refuse_unknown(sequence)
        return self._arrivals.hold_sequence(sequence, reason, self.actor.name)

    def release_sequence(self, sequence: str) -> None:
        """Let a held sequence give out again. Raises NotFound for an unknown one."""
        allow(self.actor, "hold")
        self._refuse_unknown(sequence)
        self._arrivals.release_sequence(sequence, self.actor.name)

    def held_sequences(self) -> tuple[HeldSequence, ...]:
        """Sequences that give nothing out."""
        allow(self.actor, "read")
        return self._arrivals.held_sequences()

    def watch(self, folder: str, priority: int = 0) -> Watch:
        """Submit what is dropped into a folder from now on, in this actor's name."""
        allow(self.actor, "submit")
        return self._arrivals.watch(folder, priority, self.actor.name)

    def unwatch(self, folder: str) -> None:
        """Watch a folder no longer."""
        allow(self.actor, "submit")
        self._arrivals.unwatch(folder)

    def watches(self) -> tuple[Watch, ...]:
        """Every watched folder."""
        allow(self.actor, "read")
        return self._arrivals.watches()

    def _refuse_free_hand(self, arrival_id: int) -> None:
        """What was sent before somebody changed the settings goes on by the word of who may promote."""
        if may(self.actor, "promote"):
            return
        arrival = self._arrivals.arrival(arrival_id)
        known = self.registry.find_sequence(arrival.sequence)
        asked = arrival.document.get("settings")
        if known is None or not isinstance(asked, Mapping):
            return
        now = {**known.settings, **asked}
        refuse_free_hand(
            f"arrival {arrival.id}", arrival.sequence, known.settings, now, known.tasks
        )

    def _refuse_unknown(self, sequence: str) -> None:
        """Raise NotFound for a name of which nothing is recorded and for which nothing ever came."""
        came = self._arrivals.arrivals(sequence, last=1)
        held = self._arrivals.held_sequences()
        if not came and sequence not in {each.sequence for each in held}:
            self.registry.sequence(sequence)
