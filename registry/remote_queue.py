"""The queue of a registry on another machine, over its API: as `registry.queueing.Queue` is here."""

from collections.abc import Collection, Mapping

from lori_core.names import check_name
from registry.api_client import Remote
from registry.arrival_records import Arrival, ArrivalState, HeldSequence, Source, Submission
from registry.records import Json


class RemoteQueue(Remote):
    """Implements `registry.desks.QueueBook` by asking a server."""

    def submit(
        self,
        document: Json,
        *,
        source: Source,
        folder: str | None,
        priority: int = 0,
        again: bool = False,
    ) -> Submission:
        """Send a document; files it names are the server's. Over there its source is always `api`."""
        body = {"document": document, "folder": folder, "priority": priority, "again": again}
        return self._api.ask(Submission, "POST", "api/submissions", body=body)

    def submission(self, submission_id: int) -> Submission:
        """One submission and what became of it."""
        return self._api.ask(Submission, "GET", f"api/submissions/{submission_id}")

    def submissions(self, last: int) -> tuple[Submission, ...]:
        """The newest submissions, in the order they came."""
        kind = tuple[Submission, ...]
        return self._api.ask(kind, "GET", "api/submissions", params={"last": last})

    def arrival(self, arrival_id: int) -> Arrival:
        """One arrival."""
        return self._api.ask(Arrival, "GET", f"api/arrivals/{arrival_id}")

    def arrivals(
        self,
        sequence: str | None = None,
        *,
        states: Collection[ArrivalState] | None = None,
        last: int | None = None,
    ) -> tuple[Arrival, ...]:
        """Arrivals in the order they came; of one sequence, in some states, the newest alone."""
        if sequence is not None:
            check_name("sequence", sequence)
        wanted = None if states is None else ",".join(sorted(states))
        params = {"sequence": sequence, "states": wanted, "last": last}
        return self._api.ask(tuple[Arrival, ...], "GET", "api/arrivals", params=params)

    def blocked(self) -> Mapping[str, int]:
        """Sequence -> the failed arrival that blocks it."""
        return self._api.ask(dict[str, int], "GET", "api/queue/blocked")

    def cancel(self, arrival_id: int) -> Arrival:
        """Take an arrival out of the queue, or ask a running one to end."""
        return self._do(arrival_id, "cancel")

    def retry(self, arrival_id: int) -> Arrival:
        """Let a failed or cancelled arrival wait for its turn again."""
        return self._do(arrival_id, "retry")

    def hold(self, arrival_id: int) -> Arrival:
        """Pass an arrival over until it is released."""
        return self._do(arrival_id, "hold")

    def release(self, arrival_id: int) -> Arrival:
        """Let a held arrival have its turn again."""
        return self._do(arrival_id, "release")

    def hold_sequence(self, sequence: str, reason: str) -> HeldSequence:
        """Let a sequence give nothing out until it is released."""
        path = f"api/sequences/{check_name('sequence', sequence)}/hold"
        return self._api.ask(HeldSequence, "POST", path, body={"reason": reason})

    def release_sequence(self, sequence: str) -> None:
        """Let a held sequence give out again."""
        path = f"api/sequences/{check_name('sequence', sequence)}/release"
        self._api.ask(dict[str, str], "POST", path)

    def held_sequences(self) -> tuple[HeldSequence, ...]:
        """Sequences that give nothing out."""
        return self._api.ask(tuple[HeldSequence, ...], "GET", "api/queue/held")

    def _do(self, arrival_id: int, verb: str) -> Arrival:
        return self._api.ask(Arrival, "POST", f"api/arrivals/{arrival_id}/{verb}")
