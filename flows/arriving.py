"""A submission is prepared: read, checked as `lori run` does, its rows kept, its tasks queued.

What is wrong is told before anything is written. What was kept is what is learned, whatever happens
to the submitted files afterwards.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from flows.arrival_plan import compose, digests_of, mapping, snapshotted
from flows.checks import check_rows
from flows.free_hand import refuse_auto, sender_may_promote
from flows.keys import adapter_settings, data_key, task_settings
from flows.known_sequence import Known
from flows.plan import Plan, known_base, refuse_other_tests, row_digests
from flows.queues import queue_of
from flows.session import inspect_base
from flows.snapshots import keep_rows
from flows.stage_process import StageProcess
from flows.stage_protocol import StageCrashed
from flows.submitted_file import (
    Wish,
    content_of,
    read_wish,
    refuse_from_outside,
    sequence_named,
)
from flows.succession import refuse_retired_tasks
from lori_core.config import TaskConfig
from lori_core.digests import sha256_json
from lori_core.errors import BadInput, CheckFailed, NoRoom, Unavailable, without_rows
from lori_core.metrics import metric_named
from lori_core.sequence_file import require_files
from registry.arrival_records import NewTask, Source, Submission
from registry.arrivals import Arrivals
from registry.changes import changes
from registry.deciding import DECIDES, refuse_free_hand
from registry.desks import acting, opened
from registry.home import writable
from registry.plain import one_line
from registry.records import Json, SequenceRecord, TaskRecord
from registry.store import Registry

_log = logging.getLogger("lori.dispatcher")


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent, and how."""

    document: Json

    source: Source

    folder: Path
    """What relative paths are relative to."""

    again: bool = False
    """Learn it under a new name where it is there already."""

    name: str = "submission"
    """What messages call it, unless it is a file."""

    may_promote: bool = True
    """Whether who sent it may: a worker with more rights must not promote on his word alone."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a submission comes to."""

    tasks: tuple[NewTask, ...]
    """What is to be queued, or is already."""

    rows: tuple[tuple[TaskConfig, Mapping[str, str]], ...]
    """The tasks whose rows have to be kept, with their digests."""

    learned: Mapping[str, int]
    """task -> version, of those that are learned and never were in the queue."""

    notes: tuple[str, ...]
    """What the sender should know."""


def prepare(registry: Registry, home: Path, submission: Submission) -> Submission:
    """Queue what a submission asks for, or refuse it in one line.

    Where the disk is full, or this process is about to be stopped, it stays `received` for the next
    look: others need not wait for it.

    Raises:
        Unavailable: our store is away.
    """
    arrivals = Arrivals(registry)
    folder = home.parent / (submission.folder or "")
    name = f"submission {submission.id}"
    sent = Sent(
        submission.document,
        submission.source,
        folder,
        submission.again,
        name,
        may_promote=sender_may_promote(registry, submission),
    )
    try:
        return queue_up(registry, home, submission, examine(registry, home, sent))
    except Unavailable as away:
        return _waiting(arrivals, submission, str(away))
    except (BadInput, CheckFailed) as refusal:
        reason = without_rows(refusal)  # any viewer reads it
    except StageCrashed as crash:
        if crash.told_to_leave:
            return _waiting(arrivals, submission, "this worker was told to leave")
        _log.warning("submission %s: %s", submission.id, one_line(crash.last_line))
        reason = f"the base could not be looked at: {crash.kind}; the worker's log says more"
    except Exception as bug:
        # Told and settled, so that nobody stumbles over it again; the trace goes on to the log.
        fault = f"a fault of ours, {type(bug).__name__}; the worker's log says where"
        _refused(arrivals, submission, fault)
        raise
    return _refused(arrivals, submission, reason)


def _waiting(arrivals: Arrivals, submission: Submission, why: str) -> Submission:
    """Leave it for the next look; a store that is away says so here."""
    found = arrivals.submission(submission.id)
    _log.warning("submission %s waits: %s", submission.id, one_line(why))
    return found


def _refused(arrivals: Arrivals, submission: Submission, reason: str) -> Submission:
    """Refuse it, unless it was settled meanwhile: `lori submit` prepares its own."""
    try:
        return arrivals.refuse(submission.id, one_line(reason))
    except Unavailable:
        raise
    except BadInput:
        return arrivals.submission(submission.id)


def queue_up(
    registry: Registry, home: Path, submission: Submission, prepared: Prepared
) -> Submission:
    """Keep the rows, and make the arrivals.

    Raises:
        DigestMismatch: rows changed while they were looked at.
        BadInput: another submission was faster with a task of the same name.
        Unavailable: no room for the rows.
    """
    keep(home, prepared)
    return Arrivals(registry).accept(submission.id, prepared.tasks, prepared.learned)


def keep(home: Path, prepared: Prepared) -> None:
    """Keep the rows of what is to be learned.

    Raises:
        DigestMismatch: rows changed while they were looked at.
        Unavailable: no room for them.
    """
    for task, digests in prepared.rows:
        folder = home / "data" / data_key(digests)
        with writable(folder):
            keep_rows(task, digests, folder)


def examine(registry: Registry | None, home: Path, sent: Sent, *, whole: bool = False) -> Prepared:
    """Read and check what was sent; nothing of it is kept.

    Args:
        registry: where it would be queued; None for a home without one.
        home: the home folder.
        sent: what was sent.
        whole: look at the base and at every row as the model reads it too, which takes seconds.

    Raises:
        BadInput: something is wrong with it.
        CheckFailed: it may not be read.
    """
    name, content = content_of(sent.document, sent.name)
    known = Known.of(registry, sequence_named(content, name))
    try:
        wish = read_wish(content, name, sent.folder, known.shared)
        refuse_from_outside(wish, sent.source, home, known.base_path)
        require_files(wish.config)
        examination = _Examination(registry, home, wish, known)
        if not sent.may_promote:
            examination.refuse_free_hand()
            examination = examination.of_no_say()
        return examination.prepared(sent.again, whole)
    except NoRoom as full:
        raise full.told(fixed=known.shared is not None) from None


@dataclass(frozen=True, slots=True)
class _Item:
    """One task that was sent."""

    task: TaskConfig
    """Renamed where it is to be learned again."""

    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Examination:
    registry: Registry | None
    home: Path
    wish: Wish
    known: Known

    def prepared(self, again: bool, whole: bool) -> Prepared:
        """Check everything, the cheapest first."""
        items = self._items(again)
        fresh = [each for each in items if each.task.name not in self.known.names]
        plan = self._plan(fresh)
        positions = range(len(plan.config.tasks) - len(fresh) + 1, len(plan.config.tasks) + 1)
        refuse_other_tests(plan)
        self._refuse_lost_metrics(plan, fresh)
        self._refuse_retired(fresh)
        check_rows(plan, positions)
        base = known_base(plan.config.base, self.home)
        if base is None or (whole and fresh):
            base = inspected(plan, self.home, positions)
        self._refuse_changes(base, items)
        tasks = {each.task.name: self._new_task(base, each) for each in items}
        self._refuse_another_of_its_name(tasks)
        known = self.known
        queued = [
            task
            for name, task in tasks.items()
            if task.content in known.contents or name not in known.names
        ]
        return Prepared(
            tuple(queued),
            tuple((each.task, each.data) for each in fresh),
            {name: known.versions[name] for name in tasks if tasks[name] not in queued},
            self._notes(fresh),
        )

    def _items(self, again: bool) -> list[_Item]:
        taken = {*self.known.names, *(task.name for task in self.wish.config.tasks)}
        items = []
        for task in self.wish.config.tasks:
            name = task.name
            if again and name in self.known.names:
                name = free_name(name, taken)
                taken.add(name)
            items.append(_Item(replace(task, name=name), row_digests(self.home, task)))
        return items

    def _plan(self, fresh: Sequence[_Item]) -> Plan:
        """Everything that is learned, waits, or comes with this: it has to fit together."""
        known, wish = self.known, self.wish
        learned = () if known.learned is None else known.learned.tasks
        names = {task.name for task in learned}
        waiting = [each for each in known.queue if each.task not in names]
        tasks = [snapshotted(self.home, each) for each in waiting]
        tasks += [asdict(each.task) for each in fresh]
        config = compose(known.learned, self._document(), tasks, wish.name)
        data: list[Mapping[str, str]] = [digests_of(task.data) for task in learned]
        data += [each.data for each in waiting]
        data += [each.data for each in fresh]
        return Plan(wish.folder / Path(wish.name).name, config, tuple(data))

    def _document(self) -> dict[str, object]:
        """What an arrival is told of its sequence."""
        config = self.wish.config
        settings = dict(self.wish.settings)
        if self.known.learned is None:
            settings = {**self._so_far(), **settings}
        return {
            "sequence": config.sequence,
            "base": asdict(config.base),
            "adapter": adapter_settings(config),
            "training": asdict(config.training),
            "settings": settings,
            "about": {"purpose": config.purpose, "license": config.license},
            "metric_folder": str(self.wish.folder),
            "file": self.wish.name,
        }

    def _new_task(self, base: str, item: _Item) -> NewTask:
        document = self._document()
        record = task_settings(item.task)
        content = {
            "sequence": self.known.name,
            "base": base,
            "adapter": document["adapter"],
            "task": record,
            "data": dict(item.data),
        }
        return NewTask(
            sequence=self.known.name,
            task=item.task.name,
            document={
                **document,
                "base_digest": base,
                "task": asdict(item.task),
                "record": record,
            },
            content=sha256_json(content),
            data=item.data,
            queue=queue_of(item.task),
        )

    def refuse_free_hand(self) -> None:
        """Who may not promote cannot have it done either.

        He declares a new sequence as he likes, but for `auto`; one that is recorded, or waits, keeps
        what decides about it.
        """
        wish, known = self.wish, self.known
        record = None if self.registry is None else self.registry.find_sequence(known.name)
        if record is not None:
            now = {**record.settings, **wish.settings}
            refuse_free_hand(wish.name, known.name, record.settings, now, record.tasks)
        elif known.queue:
            was = self._so_far()
            refuse_free_hand(wish.name, known.name, was, {**was, **wish.settings}, known.names)
        else:
            refuse_auto(wish.name, known.name, wish.settings.get("promotion"))

    def of_no_say(self) -> "_Examination":
        """The same wish, silent on what it may not change: what an admin changes meanwhile stands."""
        if self.known.learned is None:
            return self
        settings = self.wish.settings.items()
        kept = {key: value for key, value in settings if key not in DECIDES or key == "guards"}
        return replace(self, wish=replace(self.wish, settings=kept))

    def _refuse_lost_metrics(self, plan: Plan, fresh: Sequence[_Item]) -> None:
        """All metrics of one's own are then looked for beside this file: the learned tasks' ones too."""
        if any(":" in each.task.metric for each in fresh):
            for task in plan.config.tasks:
                metric_named(task.metric, self.wish.folder)

    def _so_far(self) -> dict[str, object]:
        """What the sequence says of itself up to now: as it is recorded, then as what waits has it."""
        learned = self.known.learned
        found = {} if learned is None else dict(learned.record.settings)
        if self.known.newest is not None:
            found.update(mapping(self.known.newest.document["settings"]))
        return found

    def _refuse_retired(self, fresh: Sequence[_Item]) -> None:
        if self.registry is None or self.known.learned is None:
            return
        retired = opened(self.registry, acting(self.registry)).desk.retired(self.known.name)
        refuse_retired_tasks(self.known.name, retired, [each.task.name for each in fresh])

    def _refuse_changes(self, base: str, items: Sequence[_Item]) -> None:
        """What is learned must be what was learned; what waits has the same base and adapter."""
        known, config = self.known, self.wish.config
        if self.registry is not None and known.begun:
            record = SequenceRecord(
                name=known.name,
                base_digest=base,
                base_path=config.base.path,
                base={"revision": config.base.revision, "dtype": config.base.dtype},
                adapter=adapter_settings(config),
                tasks=known.begun,
            )
            self.registry.refuse_changes(
                record,
                [
                    TaskRecord(
                        position=known.begun.index(each.task.name) + 1,
                        name=each.task.name,
                        config=task_settings(each.task),
                        data=each.data,
                    )
                    for each in items
                    if each.task.name in known.begun
                ],
            )
        for arrival in known.queue:
            document = arrival.document
            told, asked = (
                {"base": document["base_digest"], "adapter": document["adapter"]},
                {"base": base, "adapter": adapter_settings(config)},
            )
            for change in changes(told, asked):
                raise BadInput(
                    f"{self.wish.name}: {change.part} is {change.now}, but {change.was} in arrival "
                    f"{arrival.id}, which waits for {known.name!r}",
                    "one base and adapter for all tasks of a sequence",
                    "Change it, give the sequence a new name, or cancel what waits.",
                )

    def _refuse_another_of_its_name(self, tasks: Mapping[str, NewTask]) -> None:
        for arrival in self.known.queue:
            task = tasks.get(arrival.task)
            if task is None or task.content == arrival.content:
                continue
            was = {**mapping(arrival.document["record"]), "rows": arrival.data}
            now = {**mapping(task.document["record"]), "rows": task.data}
            change = next(changes(was, now))
            raise BadInput(
                f"{self.wish.name}: task {arrival.task!r}: {change.part} is {change.now}, but "
                f"{change.was} in arrival {arrival.id} ({arrival.state}), which has its name",
                "the same task, or another name",
                f"Rename it, or `lori cancel {arrival.id}` first.",
            )

    def _notes(self, fresh: Sequence[_Item]) -> tuple[str, ...]:
        learned = self.known.learned
        if fresh or self.known.queue or learned is None:
            return ()
        was = {key: learned.record.settings[key] for key in self.wish.settings}
        parts = [change.part for change in changes(was, self.wish.settings)]
        if not parts:
            return ()
        return (
            f"{', '.join(parts)} changed, and nothing is new to learn with it: `lori run FILE` "
            "records it.",
        )


def inspected(plan: Plan, home: Path, positions: Sequence[int]) -> str:
    """Look at the base, and at rows as its model reads them, in a child; the base's digest comes back.

    Raises:
        BadInput: what `flows.stages.inspect` refuses, or a disk too full for the tasks.
    """
    with StageProcess(home, f"submit-{plan.name}") as stages:
        return inspect_base(plan, home, positions, stages)


def free_name(name: str, taken: Collection[str]) -> str:
    """The next name of a task that is learned again: `math-2`, `math-3`, ..."""
    for number in count(2):
        ending = f"-{number}"
        tried = name[: 64 - len(ending)] + ending
        if tried not in taken:
            return tried
    raise AssertionError  # there is always one
