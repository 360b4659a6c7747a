"""Requests to move an alias: asked for on a gate's word, approved by another, applied, taken back.

Everything happens under one lock for each sequence, and against the champion it was decided on: who
expected another one, or was judged against another one, is told that the champion moved.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import select

from lori_core.errors import BadInput, CheckFailed
from registry import applying, decided, gating, ledger, lineage
from registry.accounts import accounts_exist
from registry.arrival_models import ArrivalRow, SubmissionRow
from registry.clock import now
from registry.decision_models import AccountRow, PromotionRow
from registry.decisions import (
    BARE_BASE,
    Actor,
    Alias,
    Freeze,
    GateReport,
    Promotion,
    PromotionKind,
)
from registry.outbox import enqueue
from registry.people import one_person
from registry.roles import MAY, allow
from registry.stale import stale_versions
from registry.store import Registry
from registry.vouching import givers_of, vouchers

INTEGRITY = "integrity"
"""The rule that looks at the bits; a report without it lets nothing pass."""

Expect = int | Literal["none"] | None
"""What must serve now; `none` is nothing, None does not ask."""


@dataclass(frozen=True, slots=True)
class Promoter:
    """Moves the aliases of a registry for one actor. Roles are the desk's business, persons ours."""

    registry: Registry
    actor: Actor

    def promote(
        self,
        sequence: str,
        version: int | None,
        *,
        reason: str,
        to: Alias,
        expect: Expect,
        only_request: bool,
    ) -> Promotion:
        """See `Desk.promote`, which is this; `only_request` may ask and never move."""
        with self._deciding(sequence):
            asked = self.newest(sequence) if version is None else version
            served = self._serving(sequence, to)
            _refuse_unexpected(sequence, to, served, expect)
            if served == asked:
                applying.refuse_drift(self.registry, sequence, to)
                return self._that_put_it_there(sequence, to)
            applying.model_version(self.registry, sequence, asked)  # filed, or refused
            self._refuse_frozen(sequence)
            if (same := self._same_request(sequence, to, asked, served)) is not None:
                return self._waits(same)
            applying.refuse_drift(self.registry, sequence, to)
            report = gating.record(self.registry, self.judge(sequence, asked), self.actor.name)
            _refuse_failed(report)
            waits = report.policy.approval and to == "champion"
            if only_request and not waits:  # the policy changed just now
                allow(self.actor, "promote")
            made = self._ask(
                sequence, "promote", to, served, asked,
                reason=reason, expect=expect, report=report, waits=waits,
            )  # fmt: skip
            if not waits:
                applying.move(self.registry, sequence, made, self.actor.name)
            found = self.promotion(made)
            return self._waits(found) if waits else found

    def approve(self, identity: int, *, reason: str) -> Promotion:
        """See `Desk.approve`, which is this."""
        sequence = self.promotion(identity).sequence
        with self._deciding(sequence):
            asked = self.promotion(identity)
            self.refuse_first_person("approve this promotion", asked.requested_by)
            self._refuse_submitter(asked)
            _refuse_answered(asked)
            self._refuse_frozen(sequence)
            applying.refuse_drift(self.registry, sequence, asked.alias)
            try:
                report = self._judge_again(asked)
            except CheckFailed as refusal:
                applying.give_up(self.registry, sequence, identity, self.actor.name, str(refusal))
                raise
            self._answer(asked, reason, report)
            applying.move(self.registry, sequence, identity, self.actor.name)
            return self.promotion(identity)

    def reject(self, identity: int, *, reason: str) -> Promotion:
        """See `Desk.reject`, which is this."""
        sequence = self.promotion(identity).sequence
        with self._deciding(sequence):
            _refuse_answered(self.promotion(identity))
            applying.record(
                self.registry, sequence, "rejected", self.actor.name, {"why": reason}, identity
            )
            ledger.anchor(self.registry, sequence)
            return self.promotion(identity)

    def rollback(
        self, sequence: str, *, reason: str, to_version: int | None, expect: Expect
    ) -> Promotion:
        """See `Desk.rollback`, which is this."""
        with self._deciding(sequence, emergency=to_version is not None) as broken:
            served = self._serving(sequence, "champion")
            _refuse_unexpected(sequence, "champion", served, expect)
            target = self._rolled_to(sequence, served, to_version)
            applying.note_drift(self.registry, sequence, "champion")  # told of, and in no way
            if target == served and self._told_of(sequence, "champion"):
                applying.put_back(self.registry, sequence, "champion", self.actor.name, broken)
                ledger.anchor(self.registry, sequence)
                there = self._that_put_it_there(sequence, "champion")
                return replace(there, detail=f"the log was broken: {broken}") if broken else there
            applying.check_sound(self.registry, sequence, target)
            made = self._ask(
                sequence, "rollback", "champion", served, target,
                reason=reason, expect=expect, report=None, waits=False, broken=broken,
            )  # fmt: skip
            applying.move(self.registry, sequence, made, self.actor.name)
            return self.promotion(made)

    def judge(self, sequence: str, version: int) -> GateReport:
        """A version against the champion, by the sequence's policy; nothing is recorded."""
        moment = now()
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            champion = decided.serving(session, owner, "champion")
            stale = stale_versions(session, owner, version)
            waivers = decided.live_waivers(session, owner, version, moment)
            retired = decided.retired_tasks(session, owner)
            served = decided.was_champion(session, owner, version)
        return gating.judge(
            self.registry,
            sequence,
            version,
            champion,
            stale=stale,
            waivers=waivers,
            retired=tuple(retired),
            served=served,
            at=moment,
        )

    def newest(self, sequence: str) -> int:
        """The newest version that is filed.

        Raises:
            BadInput: none is.
        """
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            found = decided.newest_version(session, owner)
        if found is None:
            raise BadInput(
                f"sequence {sequence!r} has no version", "a filed version", "`lori run` files one."
            )
        return found

    def promotion(self, identity: int) -> Promotion:
        """A promotion, as it stands. Raises NotFound when there is none."""
        with self.registry._database.reading() as session:
            return decided.promotion_record(session, decided.promotion_row(session, identity))

    def refuse_first_person(self, what: str, requested_by: str) -> None:
        """Return if this actor may be the second person.

        Raises:
            CheckFailed: he asked for it himself, is the owner of the embedded default, or acts by
                an account, token or password that who asked has given, or gave who gave it: it
                could be the same person.
        """
        if not self.actor.account:
            raise CheckFailed(
                "second person",
                f"{self.actor.name} owns this registry's files, so his word counts once: to"
                f" {what} takes an account. {self._how_to_find_one(requested_by)}",
            )
        if self.actor.name == requested_by:
            raise CheckFailed(
                "second person",
                f"{self.actor.name} asked for it: to {what} takes somebody else."
                f" {self._how_to_find_one(requested_by)}",
            )
        if one_person(self.actor.name, requested_by):
            raise CheckFailed(
                "second person",
                f"{requested_by} asked for it, and {self.actor.name} could be the same person by"
                f" another way in: to {what} takes somebody else."
                f" {self._how_to_find_one(requested_by)}",
            )
        if any(one_person(each, requested_by) for each in self.actor.vouched_by):
            raise CheckFailed(
                "second person",
                f"{requested_by}, who asked for it, made {self.actor.name}'s account, token or"
                f" password, or that of who did, and"
                f" could be both: to {what} takes somebody else."
                f" {self._how_to_find_one(requested_by)}",
            )

    def _refuse_submitter(self, asked: Promotion) -> None:
        """A worker asks on the word of whoever submitted the task, who is no second person then."""
        with self.registry._database.reading() as session:
            task = lineage.version_row(session, asked.sequence, asked.to_version).task
            submitters = session.scalars(
                select(SubmissionRow.submitted_by)
                .join(ArrivalRow, ArrivalRow.submission_id == SubmissionRow.id)
                .where(ArrivalRow.sequence == asked.sequence, ArrivalRow.task == task)
                .where(ArrivalRow.state.in_(("running", "learned")))
            ).all()
        for each in submitters:
            if one_person(self.actor.name, each):
                raise CheckFailed(
                    "second person",
                    f"{self.actor.name} submitted task {task!r}: to approve its version takes"
                    f" somebody else. {self._how_to_find_one(self.actor.name)}",
                )
            if any(one_person(voucher, each) for voucher in self.actor.vouched_by):
                raise CheckFailed(
                    "second person",
                    f"{each}, who submitted task {task!r}, made {self.actor.name}'s account, token or"
                    f" password, or that of who did, and could be both: to approve its version takes"
                    f" somebody else. {self._how_to_find_one(each)}",
                )

    @contextmanager
    def _deciding(self, sequence: str, *, emergency: bool = False) -> Iterator[str | None]:
        """Hold the lock of decisions about a sequence, whose log must be what was written.

        Args:
            sequence: whose.
            emergency: go on although the log is broken, with its first fault as the answer.

        Raises:
            CheckFailed: the log is broken.
        """
        self.registry.sequence(sequence)  # a name that is none never becomes a lock
        with self.registry._database.exclusive(applying.alias_lock(sequence)):
            broken = ledger.end_fault(self.registry, sequence)
            if broken is None:
                applying.end_interrupted(self.registry, sequence)
            elif not emergency:
                raise ledger.broken(sequence, broken)
            yield broken

    def _ask(
        self,
        sequence: str,
        kind: PromotionKind,
        alias: Alias,
        before: int | None,
        after: int,
        *,
        reason: str,
        expect: Expect,
        report: GateReport | None,
        waits: bool,
        broken: str | None = None,
    ) -> int:
        """Write what is asked for, and (unless it waits) that it is about to happen."""
        with self.registry._database.writing() as session:
            owner = lineage.known_sequence(session, sequence)
            row = PromotionRow(
                sequence_id=owner.id,
                kind=kind,
                alias=alias,
                from_version=before,
                to_version=after,
                requested_by=self.actor.name,
                reason=reason,
                expected=None if expect is None else str(expect),
                report_id=None if report is None else report.id,
                created=now(),
            )
            row.facts_sha256 = ledger.facts_hash(
                owner.name, row, None if report is None else report.sha256
            )
            session.add(row)
            session.flush()
            facts = {"facts_sha256": row.facts_sha256}
            if broken is not None:
                facts["log_broken"] = broken
            asked = ledger.append(session, owner, "requested", self.actor.name, facts, row)
            enqueue(session, owner, "requested", applying.told(sequence, asked, row))
            if not waits:
                ledger.append(session, owner, "applying", self.actor.name, {}, row)
            made = row.id
        if waits:  # else what comes next is anchored with it
            ledger.anchor(self.registry, sequence)
        return made

    def _answer(self, asked: Promotion, reason: str, report: GateReport) -> None:
        with self.registry._database.writing() as session:
            owner = lineage.known_sequence(session, asked.sequence)
            row = decided.promotion_row(session, asked.id)
            answer = {"reason": reason, "report": report.id, "report_sha256": report.sha256}
            said = ledger.append(session, owner, "approved", self.actor.name, answer, row)
            enqueue(session, owner, "approved", applying.told(asked.sequence, said, row))
            ledger.append(session, owner, "applying", self.actor.name, {}, row)

    def _judge_again(self, asked: Promotion) -> GateReport:
        """What was asked for days ago must still stand: same champion, gate, bits. Kept either way."""
        served = self._serving(asked.sequence, asked.alias)
        if served != asked.from_version:
            raise CheckFailed(
                "champion",
                f"moved: {asked.sequence}/{asked.to_version} was judged while"
                f" {decided.shown_version(asked.from_version)} served, and {decided.shown_version(served)} serves now",
            )
        judged = self.judge(asked.sequence, asked.to_version)
        report = gating.record(self.registry, judged, self.actor.name)
        _refuse_failed(report)
        return report

    def _rolled_to(self, sequence: str, served: int | None, asked: int | None) -> int:
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            if asked is None:
                before = decided.serving(session, owner, "previous")
                if before is None:
                    there = "" if served is None else f" before {decided.shown_version(served)}"
                    raise BadInput(
                        f"rollback of {sequence}: nothing served{there}",
                        "a champion before this one",
                        "`--base` serves the bare base.",
                    )
                return before
            if asked != BARE_BASE:
                lineage.version_row(session, sequence, asked)
                if not decided.was_champion(session, owner, asked):
                    raise BadInput(
                        f"rollback to {sequence}/{asked}, which never served",
                        "an earlier champion, or the bare base",
                        f"`lori promote {sequence}/{asked}` asks the gate.",
                    )
            return asked

    def _serving(self, sequence: str, alias: Alias) -> int | None:
        with self.registry._database.reading() as session:
            return decided.serving_by_log(session, lineage.known_sequence(session, sequence), alias)

    def _told_of(self, sequence: str, alias: Alias) -> bool:
        """Whether the promotion that put there what serves can still be told."""
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            entry = decided.serving_entry(session, owner, alias)
            return entry is not None and entry.promotion is not None

    def _that_put_it_there(self, sequence: str, alias: Alias) -> Promotion:
        """Asked for what is so already: nothing changes, and the promotion that did it answers."""
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            entry = decided.serving_entry(session, owner, alias)
            assert entry is not None
            return decided.promotion_record(session, decided.promotion_of(entry))

    def _same_request(
        self, sequence: str, to: Alias, version: int, served: int | None
    ) -> Promotion | None:
        """This actor's own request for the same, if it still waits."""
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            waiting = decided.waiting(session, owner, version, (to,))
        wanted = (to, version, served, self.actor.name)
        return next(
            (
                each
                for each in waiting
                if (each.alias, each.to_version, each.from_version, each.requested_by) == wanted
            ),
            None,
        )

    def _waits(self, asked: Promotion) -> Promotion:
        how = self._how_to_find_one(asked.requested_by)
        return replace(asked, detail=f"waits for a second person. {how}")

    def _how_to_find_one(self, requested_by: str) -> str:
        able = {role for role, actions in MAY.items() if "approve" in actions}
        with self.registry._database.reading() as session:
            givers = givers_of(session)
            accounts = session.execute(
                select(AccountRow.name, AccountRow.role)
                .where(AccountRow.disabled.is_(False))
                .order_by(AccountRow.name)
            ).all()
        others = {
            name: role
            for name, role in accounts
            if not any(
                one_person(each, requested_by)
                for each in (name, *vouchers(givers, name, givers[name]))
            )
        }
        names = [name for name, role in others.items() if role in able][:4]
        if names:
            return f"{', '.join(names)} could."
        if not accounts_exist(self.registry):
            return (
                "Nobody could yet, for there is no account: `lori accounts first NAME` makes the first "
                "admin's, and he one for a second person, `lori accounts add NAME --role reviewer`."
            )
        if accounts and requested_by in givers and "admin" not in others.values():
            return (
                f"Nobody could: every admin is {requested_by} or has his account from him."
                " Withdraw it, and let somebody else ask."
            )
        return (
            "Nobody could yet: make an account for one, `lori accounts add NAME --role reviewer`."
        )

    def _refuse_frozen(self, sequence: str) -> None:
        with self.registry._database.reading() as session:
            owner = lineage.known_sequence(session, sequence)
            frozen: Freeze | None = decided.current_freeze(session, owner, now())
        if frozen is not None:
            raise CheckFailed(
                "frozen",
                f"{sequence} until {frozen.until:%Y-%m-%d %H:%M} UTC by {frozen.by}:"
                f" {frozen.reason} (`lori thaw` ends it; a rollback still works)",
            )


def _refuse_unexpected(sequence: str, alias: Alias, served: int | None, expect: Expect) -> None:
    if expect is None or (None if expect == "none" else expect) == served:
        return
    wanted = None if expect == "none" else expect
    raise CheckFailed(
        alias,
        f"moved: {sequence}@{alias} is {decided.shown_version(served)}, and {decided.shown_version(wanted)} was expected",
    )


def _refuse_failed(report: GateReport) -> None:
    """Whatever a policy asks and two persons waive, the bits must be what was certified."""
    sound = any(rule.rule == INTEGRITY and rule.ok and not rule.waived for rule in report.rules)
    if report.ok and sound:
        return
    said = "; ".join(f"{rule.rule}: {rule.why}" for rule in report.rules if not rule.ok)
    raise CheckFailed("gate", f"{report.sequence}/{report.version} is refused: {said}")


def _refuse_answered(asked: Promotion) -> None:
    if asked.status != "requested":
        raise CheckFailed("approval", f"promotion {asked.id} waits no more: it is {asked.status}")
