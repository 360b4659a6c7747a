"""What was sent, until it is arrivals or refused; and the folders whose dropped files are sent."""

from collections.abc import Mapping, Sequence
from typing import get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.errors import BadInput, NotFound
from lori_core.names import check_name
from registry.arrival_models import ArrivalRow, SubmissionRow, WatchRow
from registry.arrival_records import NewTask, Outcome, Source, Submission, Watch
from registry.arrival_rows import (
    outcome_document,
    plain_json,
    said,
    submission_record,
    watch_record,
)
from registry.fence import moment
from registry.plain import LARGEST, plain_text, whole_number
from registry.records import Json
from registry.store import Registry
from registry.turns import refuse_known_name


class Submissions:
    """What is sent to one registry. It asks no roles: `registry.queueing.Queue` does."""

    def __init__(self, registry: Registry) -> None:
        """Use a registry (no fenced one)."""
        self.registry = registry
        self._database = registry._database

    def receive(
        self,
        document: Json,
        *,
        source: Source,
        folder: str | None,
        priority: int = 0,
        again: bool = False,
        submitted_by: str,
    ) -> Submission:
        """Write down what was sent; it is prepared later (`accept`, `refuse`).

        Raises:
            BadInput: a document that is no JSON, a priority no column holds, a name that is no text.
        """
        if source not in get_args(Source):
            raise BadInput(f"source {source!r}", f"one of {', '.join(get_args(Source))}")
        with self._database.writing() as session:
            row = SubmissionRow(
                source=source,
                state="received",
                document=plain_json("document", document),
                folder=None if folder is None else _folder(folder, longest=4096),
                priority=_priority(priority),
                again=again,
                submitted_by=plain_text("name", submitted_by, longest=128),
                outcome=[],
                created=moment(session),
            )
            session.add(row)
            session.flush()
            return submission_record(row)

    def received(self) -> tuple[Submission, ...]:
        """What waits to be prepared, oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(SubmissionRow)
                .where(SubmissionRow.state == "received")
                .order_by(SubmissionRow.id)
            )
            return tuple(submission_record(row) for row in rows)

    def submissions(self, last: int) -> tuple[Submission, ...]:
        """The newest submissions, in the order they came."""
        newest = select(SubmissionRow).order_by(SubmissionRow.id.desc())
        with self._database.reading() as session:
            rows = session.scalars(newest.limit(whole_number("last", last, least=1))).all()
            return tuple(submission_record(row) for row in reversed(rows))

    def submission(self, submission_id: int) -> Submission:
        """One submission. Raises NotFound when there is none."""
        with self._database.reading() as session:
            return submission_record(_submission(session, submission_id))

    def accept(
        self, submission_id: int, tasks: Sequence[NewTask], learned: Mapping[str, int]
    ) -> Submission:
        """Make arrivals of a submission's tasks, all or none. Said twice, the first one stands.

        A task whose content waits, runs, failed or was learned already makes no second arrival, unless
        the submission says `again`.

        Args:
            submission_id: of what was received.
            tasks: what is to be learned, in order.
            learned: task -> version, of those that need not be learned any more.

        Raises:
            BadInput: another task of the same name is in the queue; or the submission was refused.
        """
        with self._database.writing() as session:
            row = _submission(session, submission_id)
            if row.state == "accepted":
                return submission_record(row)
            _refuse_settled(row)
            outcome = [
                Outcome(task=task, arrival=None, version=version, new=False)
                for task, version in learned.items()
            ]
            outcome += [self._arrive(session, row, task) for task in tasks]
            row.state, row.settled = "accepted", moment(session)
            row.outcome = [outcome_document(each) for each in outcome]
            return submission_record(row)

    def refuse(self, submission_id: int, reason: str) -> Submission:
        """Refuse a submission, in one line. Said twice, the first one stands.

        Raises:
            BadInput: it was accepted.
        """
        with self._database.writing() as session:
            row = _submission(session, submission_id)
            if row.state == "refused":
                return submission_record(row)
            _refuse_settled(row)
            row.state, row.settled, row.reason = "refused", moment(session), said(reason)
            return submission_record(row)

    def _arrive(self, session: Session, sent: SubmissionRow, task: NewTask) -> Outcome:
        check_name("sequence", task.sequence)
        check_name("task", task.task)
        not_cancelled = ArrivalRow.state != "cancelled"
        if not sent.again:
            same = session.scalar(
                select(ArrivalRow)
                .where(ArrivalRow.content == task.content, not_cancelled)
                .order_by(ArrivalRow.id)
                .limit(1)
            )
            if same is not None:
                return Outcome(task=same.task, arrival=same.id, version=same.version, new=False)
        refuse_known_name(session, task.sequence, task.task)
        row = ArrivalRow(
            submission_id=sent.id,
            sequence=task.sequence,
            task=task.task,
            state="waiting",
            held=False,
            priority=sent.priority,
            document=plain_json("document", task.document),
            content=task.content,
            data=dict(task.data),
            queue=check_name("queue", task.queue),
            attempt=0,
            lost=0,
            token=0,
            progress={},
            cancel_requested=False,
            created=moment(session),
        )
        session.add(row)
        session.flush()
        return Outcome(task=row.task, arrival=row.id, version=None, new=True)

    def watch(self, folder: str, priority: int, by: str) -> Watch:
        """Submit what is dropped into a folder from now on; a known one gets the new priority."""
        place = _folder(folder, longest=1024)
        with self._database.writing() as session:
            row = session.scalar(select(WatchRow).where(WatchRow.folder == place))
            if row is None:
                row = WatchRow(folder=place, created=moment(session))
                session.add(row)
            row.priority = _priority(priority)
            row.submitted_by = plain_text("name", by, longest=128)
            session.flush()
            return watch_record(row)

    def unwatch(self, folder: str) -> None:
        """Watch a folder no longer. Raises NotFound where it is not watched."""
        with self._database.writing() as session:
            row = session.scalar(select(WatchRow).where(WatchRow.folder == folder))
            if row is None:
                raise NotFound(f"folder {folder!r}", "one that is watched")
            session.delete(row)

    def watches(self) -> tuple[Watch, ...]:
        """Every watched folder, by name."""
        with self._database.reading() as session:
            rows = session.scalars(select(WatchRow).order_by(WatchRow.folder))
            return tuple(watch_record(row) for row in rows)


def _refuse_settled(row: SubmissionRow) -> None:
    if row.state != "received":
        raise BadInput(f"submission {row.id} is {row.state}", "one that was just received")


def _folder(path: str, *, longest: int) -> str:
    """A path as it is, with every space it has, if a column can hold it."""
    plain_text("folder", path, longest=longest)
    return path


def _priority(value: int) -> int:
    if abs(value) > LARGEST:
        raise BadInput("priority", f"a whole number from -{LARGEST} to {LARGEST}")
    return value


def _submission(session: Session, submission_id: int) -> SubmissionRow:
    whole_number("submission", submission_id)
    row = session.get(SubmissionRow, submission_id)
    if row is None:
        raise NotFound(f"submission {submission_id}", "the number of a submission")
    return row
