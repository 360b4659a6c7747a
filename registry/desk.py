"""The one place where a person's decisions are made: every method asks the actor's role first.

    with open_registry() as registry:
        desk = Desk(registry, actor)
        desk.promote("assistant", 3, reason="better at code, nothing else moved")

What the log keeps is who asked, who approved, why, and on which gate report.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import get_args

from lori_core.config import Read
from lori_core.errors import BadInput, CheckFailed, NotFound
from registry import applying, decided, gating, ledger, lineage
from registry.clock import now
from registry.decision_models import ConfirmationRow
from registry.decisions import (
    Actor,
    Alias,
    ChainCheck,
    Confirmation,
    EventKind,
    Freeze,
    GateReport,
    LogEntry,
    Promotion,
    ServedThen,
    Waiver,
)
from registry.gating.rules import UNWAIVABLE
from registry.plain import aware_time, plain_text, whole_number
from registry.promoting import Expect, Promoter
from registry.records import Json
from registry.roles import allow, may, promotes_as
from registry.stale import stale_versions
from registry.store import Registry

_SKEW = timedelta(minutes=5)
"""How far a server's clock may be ahead of ours."""


class Desk:
    """Decisions of one actor about what serves. Implements `registry.desks.Decisions`."""

    def __init__(self, registry: Registry, actor: Actor) -> None:
        """Sit an actor down at a registry."""
        self.registry = registry
        self.actor = actor
        self._promoter = Promoter(registry, actor)

    # The gate and the aliases

    def gate(self, sequence: str, version: int | None) -> GateReport:
        """Judge a version (None: the newest) against the champion by the sequence's policy.

        The report is recorded if the actor's role may (a viewer's is computed alone).
        """
        allow(self.actor, "read")
        wanted = self._promoter.newest(sequence) if version is None else version
        report = self._promoter.judge(sequence, wanted)
        if not may(self.actor, "gate"):
            return report
        return gating.record(self.registry, report, self.actor.name)

    def promote(
        self,
        sequence: str,
        version: int | None,
        *,
        reason: str,
        to: Alias = "champion",
        expect: Expect = None,
    ) -> Promotion:
        """Ask for a version to serve, on the word of the gate.

        Args:
            sequence: whose.
            version: which; None is the newest filed one.
            reason: why; the log keeps it.
            to: `champion`, or `candidate`, which serves nothing and is gated alike.
            expect: what must serve now (`none`: nothing); None does not ask.

        Returns:
            The promotion: applied, or requested where the policy wants a second person, which is all
            that a trainer may ask for. What serves already is answered by the promotion that put it
            there.

        Raises:
            CheckFailed: the gate or a freeze refuses, the champion moved, the bits are not what was
                certified, the alias was moved in MLflow, or the role may not.
        """
        only_request = to == "champion" and not may(self.actor, "promote")
        if not only_request:
            allow(self.actor, promotes_as(to))
        elif not (
            may(self.actor, "request") and gating.policy_of(self.registry, sequence).approval
        ):
            allow(self.actor, "promote")
        if to == "previous":
            raise BadInput(
                "alias previous", "champion or candidate", "It follows the champion by itself."
            )
        if version is not None:
            whole_number("version", version, least=1)
        said = plain_text("reason", reason)
        return self._promoter.promote(
            sequence,
            version,
            reason=said,
            to=to,
            expect=_checked(expect),
            only_request=only_request,
        )

    def approve(self, promotion_id: int, *, reason: str) -> Promotion:
        """Approve another person's request, which is judged again and applied at once.

        Raises:
            CheckFailed: the actor asked for it himself, submitted the task, or is no account; it
                waits no more; or what it was asked on no longer holds (it has failed then, and must be asked for again).
        """
        allow(self.actor, "approve")
        return self._promoter.approve(promotion_id, reason=plain_text("reason", reason))

    def reject(self, promotion_id: int, *, reason: str) -> Promotion:
        """Turn a request down; who asked may also withdraw it, whatever his role."""
        said = plain_text("reason", reason)
        if not may(self.actor, "reject"):
            allow(self.actor, "read")
            if self._promoter.promotion(promotion_id).requested_by != self.actor.name:
                allow(self.actor, "reject")
        return self._promoter.reject(promotion_id, reason=said)

    def rollback(
        self,
        sequence: str,
        *,
        reason: str,
        to_version: int | None = None,
        expect: Expect = None,
    ) -> Promotion:
        """Back, now: to the champion before (None), to an earlier one, or to the bare base (0).

        No gate, no freeze and no second person stands in the way; broken bits do.
        """
        allow(self.actor, "rollback")
        if to_version is not None:
            whole_number("version", to_version)
        said = plain_text("reason", reason)
        return self._promoter.rollback(
            sequence, reason=said, to_version=to_version, expect=_checked(expect)
        )

    # What was decided

    def history(
        self, sequence: str, at: datetime | None = None, *, last: int | None = None
    ) -> tuple[Promotion, ...]:
        """Promotions and rollbacks of the champion, oldest first.

        Args:
            sequence: whose.
            at: as they stood then; None is now.
            last: only so many of the newest.
        """
        allow(self.actor, "read")
        then = None if at is None else aware_time("time", at)
        if last is not None:
            whole_number("last", last, least=1)
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            return decided.promotions(session, owner, then, last)

    def served(self, sequence: str, alias: Alias, at: datetime) -> ServedThen:
        """What an alias pointed at, at a time: on whose word, and which servers confirmed it."""
        allow(self.actor, "read")
        then = aware_time("time", at)
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            return decided.served_then(session, owner, alias, then)

    def pending(self, sequence: str | None) -> tuple[Promotion, ...]:
        """Requests that wait for a second person, oldest first; None: of every sequence."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            owner = None if sequence is None else lineage.known_sequence(session, sequence)
            return decided.waiting(session, owner)

    def check_history(self, sequence: str) -> ChainCheck:
        """Whether the log is what it was; each fault names its position."""
        allow(self.actor, "read")
        return ledger.check(self.registry, sequence)

    def log(self, sequence: str) -> tuple[LogEntry, ...]:
        """Every entry of the log, from the beginning."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return ledger.entries(session, lineage.known_sequence(session, sequence))

    def champion(self, sequence: str, alias: Alias = "champion") -> int | None:
        """The version an alias points at (0: the bare base), by our own rows; None: nothing."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return decided.serving(session, lineage.known_sequence(session, sequence), alias)

    def stale(self, sequence: str) -> Mapping[int, str]:
        """Versions trained on one that was rolled back and not applied again: why, for each."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return stale_versions(session, lineage.known_sequence(session, sequence))

    # Freezes, waivers, retirement

    def freeze(self, sequence: str, until: datetime, reason: str) -> Freeze:
        """Let nothing of a sequence be promoted until a time; a rollback still works."""
        allow(self.actor, "freeze")
        end = _to_come("until", until)
        said = plain_text("reason", reason)
        self._decide(sequence, "frozen", {"until": end.isoformat(), "reason": said})
        return Freeze(sequence=sequence, until=end, reason=said, by=self.actor.name)

    def thaw(self, sequence: str, reason: str) -> None:
        """End a freeze.

        Raises:
            CheckFailed: the sequence is not frozen.
        """
        allow(self.actor, "thaw")
        said = plain_text("reason", reason)
        if self.frozen(sequence) is None:
            raise CheckFailed("thaw", f"{sequence} is not frozen")
        self._decide(sequence, "thawed", {"reason": said})

    def frozen(self, sequence: str) -> Freeze | None:
        """The freeze in force, or None."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return decided.current_freeze(session, lineage.known_sequence(session, sequence), now())

    def waive(
        self, sequence: str, version: int, rule: str, reason: str, expires: datetime
    ) -> Waiver:
        """Ask for one gate rule of one version to be set aside for a time.

        It is in force once a second person approves it. A waiver never lets a version serve whose
        bits are not what was certified.
        """
        allow(self.actor, "waive")
        said, end = plain_text("reason", reason), _to_come("expiry", expires)
        named = plain_text("rule", rule, longest=256)
        if named in UNWAIVABLE:
            raise BadInput(f"rule {named!r}", "a rule that may be waived", "This one never is.")
        self.registry.version(sequence, version)
        self._know_rule(sequence, version, named)
        asked = {"version": version, "rule": named, "reason": said, "expires": end.isoformat()}
        with self.registry._database.exclusive(applying.alias_lock(sequence)):
            self._write(sequence, "waiver-requested", asked)
            return self.waivers(sequence)[-1]

    def approve_waiver(self, waiver_id: int, reason: str) -> Waiver:
        """Put another person's waiver in force.

        Raises:
            CheckFailed: the actor asked for it himself or is no account; it is in force or over.
        """
        allow(self.actor, "approve-waiver")
        said = plain_text("reason", reason)
        sequence = self._waiver(waiver_id).sequence
        with self.registry._database.exclusive(applying.alias_lock(sequence)):
            asked = self._waiver(waiver_id)
            self._promoter.refuse_first_person("approve this waiver", asked.requested_by)
            if asked.approved_by is not None:
                raise CheckFailed("waiver", f"{waiver_id} was approved by {asked.approved_by}")
            if asked.expires <= now():
                raise CheckFailed(
                    "waiver", f"{waiver_id} expired on {asked.expires:%Y-%m-%d %H:%M} UTC"
                )
            self._write(sequence, "waiver-approved", {"waiver": waiver_id, "reason": said})
            return self._waiver(waiver_id)

    def waivers(self, sequence: str) -> tuple[Waiver, ...]:
        """Every waiver of a sequence, oldest first, those that wait or are over too."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return decided.waivers_of(session, lineage.known_sequence(session, sequence))

    def retire(self, sequence: str, task: str, reason: str) -> None:
        """Say that a task is out of service; its entries stay for those who inherit them."""
        allow(self.actor, "retire")
        said = plain_text("reason", reason)
        tasks = self.registry.sequence(sequence).tasks
        if task not in tasks:
            raise NotFound(f"task {task!r} of {sequence}", f"one of {', '.join(tasks)}")
        if task in self.retired(sequence):
            raise CheckFailed("retire", f"task {task!r} of {sequence} is retired already")
        self._decide(sequence, "retired", {"task": task, "reason": said})

    def retired(self, sequence: str) -> Mapping[str, datetime]:
        """Tasks out of service, and since when."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return decided.retired_tasks(session, lineage.known_sequence(session, sequence))

    # What servers say

    def confirm(
        self,
        sequence: str,
        version: int,
        task: str,
        read: Read,
        digest: str,
        host: str,
        loaded_at: datetime,
    ) -> Confirmation:
        """A server says what it loaded: the sha256 of its adapter file, where and when."""
        allow(self.actor, "confirm")
        if re.fullmatch("[0-9a-f]{64}", digest) is None:
            raise BadInput("digest", "the sha256 of an adapter file, 64 hex digits")
        if read not in get_args(Read):
            raise BadInput(f"read {read!r}", f"one of {', '.join(get_args(Read))}")
        loaded = aware_time("time of loading", loaded_at)
        if loaded > now() + _SKEW:
            raise BadInput(f"time of loading {loaded.isoformat()}", "a time that has come")
        named = plain_text("host", host, longest=256)
        tasks = self.registry.sequence(sequence).tasks
        if task not in tasks:
            raise NotFound(f"task {task!r} of {sequence}", f"one of {', '.join(tasks)}")
        self.registry.version(sequence, version)
        with self.registry._database.writing() as session:
            owner = lineage.known_sequence(session, sequence)
            session.add(
                ConfirmationRow(
                    sequence_id=owner.id,
                    number=version,
                    task=task,
                    read=read,
                    digest=digest,
                    host=named,
                    loaded_at=loaded,
                    created=now(),
                )
            )
            session.flush()
            return decided.confirmed(session, owner, version)[-1]

    def confirmations(self, sequence: str) -> tuple[Confirmation, ...]:
        """What servers said they loaded, oldest first."""
        allow(self.actor, "read")
        with self.registry._database.reading() as session:
            return decided.confirmed(session, lineage.known_sequence(session, sequence))

    def _decide(self, sequence: str, kind: EventKind, payload: Json) -> LogEntry:
        self.registry.sequence(sequence)  # a name that is none never becomes a lock
        with self.registry._database.exclusive(applying.alias_lock(sequence)):
            return self._write(sequence, kind, payload)

    def _write(self, sequence: str, kind: EventKind, payload: Json) -> LogEntry:
        entry = applying.record(self.registry, sequence, kind, self.actor.name, payload)
        ledger.anchor(self.registry, sequence)
        return entry

    def _waiver(self, identity: int) -> Waiver:
        with self.registry._database.reading() as session:
            return decided.waiver_of(session, identity)

    def _know_rule(self, sequence: str, version: int, rule: str) -> None:
        known = [result.rule for result in self._promoter.judge(sequence, version).rules]
        if rule not in known:
            raise NotFound(
                f"rule {rule!r}",
                f"a rule that judges {sequence}/{version}: {', '.join(known)}",
                f"`lori gate {sequence}/{version}` shows them.",
            )


def _to_come(what: str, when: datetime) -> datetime:
    end = aware_time(what, when)
    if end <= now():
        raise BadInput(f"{what} {end.isoformat()}", "a time to come")
    return end


def _checked(expect: Expect) -> Expect:
    if expect is None or expect == "none":
        return expect
    return whole_number("the version expected", expect)
