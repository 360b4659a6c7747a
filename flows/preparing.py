"""What came is prepared beside the dispatcher's looks, in a thread of its own.

A base that has to be looked at for minutes, or hundreds of files, must not keep a look from what is
over and whose turn it is. One dispatcher of a home prepares at a time. A submission that has to wait
(the disk is full, say) comes after all others the next time, and that longer after each time.
"""

import contextvars
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType

from flows.announcing import announce, folder_resource
from flows.arriving import prepare
from flows.submitted_file import file_document
from flows.watchable import lies_in
from flows.watching import Drops, move_away
from lori_core.errors import BadInput, Unavailable
from registry.arrival_records import Submission, Watch
from registry.home import open_lock, try_lock
from registry.store import Registry
from registry.submissions import Submissions
from registry.turns import wait_after

BUDGET = 2.0
"""Seconds a look waits for what it began to prepare: mostly it is done by then, and goes out at once."""

STUMBLED = "a fault of ours while it was read; the worker's log has the traceback"

log = logging.getLogger("lori.dispatcher")


@dataclass(frozen=True, slots=True)
class _PutOff:
    """A submission that has to wait."""

    times: int

    until: float
    """By this process's monotonic clock."""


class Preparing:
    """Takes dropped files and prepares what was received, for one dispatcher."""

    def __init__(self, registry: Registry, home: Path) -> None:
        """Nothing is asked yet."""
        self._registry, self._home = registry, home
        self._submissions = Submissions(registry)
        self._drops = Drops()
        self._passed_over: set[str] = set()
        self._put_off: dict[int, _PutOff] = {}  # the thread's alone while it works
        self._work: Future[tuple[int, ...]] | None = None
        self._leaving = False

    def look(self) -> tuple[int, ...]:
        """Have what came prepared, unless that is under way, and wait a little for it.

        Returns:
            The submissions that were accepted or refused, once all that lay there are through.

        Raises:
            Unavailable: our store is away.
        """
        patience = 0.0
        if self._work is None:
            self._work, patience = self._begin(), BUDGET
        wait([self._work], timeout=patience)
        if not self._work.done():
            return ()
        done, self._work = self._work, None
        return done.result()

    def pressing(self) -> bool:
        """Whether a look would find something to prepare, or the end of it.

        Raises:
            Unavailable: our store is away.
        """
        if self._work is not None:
            return self._work.done()
        return any(self._due(each) for each in self._submissions.received())

    def close(self) -> None:
        """Begin nothing more, and wait for what is under way: it needs the registry."""
        self._leaving = True
        if self._work is not None:
            wait([self._work])

    def _begin(self) -> Future[tuple[int, ...]]:
        work: Future[tuple[int, ...]] = Future()
        here = contextvars.copy_context()  # Prefect's settings, for what is announced
        # A daemon: a worker that leaves does not wait minutes for a base that is looked at.
        threading.Thread(
            target=here.run, args=(self._do, work), name="preparing", daemon=True
        ).start()
        return work

    def _do(self, work: Future[tuple[int, ...]]) -> None:
        with ExitStack() as stack:
            stack.push(partial(_hand_on, work))
            work.set_result(self.prepare())

    def prepare(self) -> tuple[int, ...]:
        """Prepare all that came, unless another dispatcher is at it; the numbers of what is settled.

        Raises:
            Unavailable: our store is away.
        """
        with _alone(self._home / "runs" / "prepare.lock") as alone:
            if not alone:
                return ()
            settled = []
            for each in self._dropped_and_sent():
                if each.state == "received":
                    self._wait_for(each)
                else:
                    self._put_off.pop(each.id, None)
                    settled.append(each.id)
                if self._leaving:
                    break
            return tuple(settled)

    def _dropped_and_sent(self) -> Iterator[Submission]:
        """What became of each dropped file and received submission, what was put off last."""
        for watch, path in list(self._drops.at_rest(self._watches())):
            taken = self._take_drop(watch, path)
            if taken is not None:
                yield taken
        due = [each for each in self._submissions.received() if self._due(each)]
        for each in sorted(due, key=lambda each: each.id in self._put_off):
            yield self._settle(each)

    def _watches(self) -> tuple[Watch, ...]:
        """The watched folders but those in the home: nothing is moved there, whoever asked for it."""
        home, found = self._home.resolve(), []
        for watch in self._submissions.watches():
            if not lies_in(Path(watch.folder).resolve(), home):
                found.append(watch)
            elif watch.folder not in self._passed_over:
                self._passed_over.add(watch.folder)
                log.warning("%s is in the home and is not watched", watch.folder)
        return tuple(found)

    def _due(self, submission: Submission) -> bool:
        before = self._put_off.get(submission.id)
        return before is None or before.until <= monotonic()

    def _wait_for(self, submission: Submission) -> None:
        before = self._put_off.get(submission.id)
        times = 1 if before is None else before.times + 1
        until = monotonic() + wait_after(times).total_seconds()
        self._put_off[submission.id] = _PutOff(times, until)

    def _take_drop(self, watch: Watch, path: Path) -> Submission | None:
        """Submit one dropped file and move it to where it shows what became of it."""
        try:
            submission = self._submissions.receive(
                file_document(path),
                source="folder",
                folder=watch.folder,
                priority=watch.priority,
                submitted_by=watch.submitted_by,
            )
        except Unavailable:
            raise
        except BadInput as refusal:  # no text, or none that is kept: nothing was received
            self._move(path, str(refusal))
            return None
        told = {"path": str(path), "submission": submission.id}
        announce("lori.file.dropped", folder_resource(watch.folder), told)
        settled = self._settle(submission)
        self._move(path, settled.reason if settled.state == "refused" else None)
        return settled

    def _move(self, path: Path, refusal: str | None) -> None:
        try:
            move_away(path, refusal)
        except OSError as error:  # a folder we may not write: then it is taken once, where it lies
            self._drops.leave(path)
            log.warning("%s stays where it is: %s", path, error.strerror)

    def _settle(self, submission: Submission) -> Submission:
        """Prepare a submission; one that we stumble over must not stop all others."""
        try:
            return prepare(self._registry, self._home, submission)
        except Unavailable:
            raise
        except Exception:
            log.exception("submission %s", submission.id)
            return self._submissions.refuse(submission.id, STUMBLED)


def _hand_on(
    work: Future[tuple[int, ...]],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> bool:
    """Give what was raised to whoever asks for the result."""
    if error is not None:
        work.set_exception(error)
    return True


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Whether no other process holds a lock, which is held until the block is left."""
    handle = open_lock(lock)
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)
