"""A run's hold on its arrival: renewed by a thread of its own, and what ends the run when it is over.

The thread renews the lease, looks whether somebody asked to cancel, and tells Prefect that the run
lives. When the arrival is no longer ours, or is to be cancelled, it sends this process SIGTERM: the
main thread unwinds as it does for a worker that leaves, so the training child checkpoints and goes.
A main thread that cannot unwind (it hangs in a library) is not waited for longer than `GRACE`.
"""

import contextvars
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import psutil

from lori_core.errors import LoriError, Unavailable
from registry.arrivals import Arrivals
from registry.fence import Fence, FenceLost
from registry.records import Json

GRACE = 7.5
"""Seconds (more than the training child gets) between the signal and the end of everything this process started, and of itself."""

GONE = 75
"""Exit code of a run that did not unwind in time."""

LATE = (
    "it took longer than its resources.max_hours; a checkpoint is kept. "
    "`lori retry` goes on from there for as long again"
)

Ending = Literal["cancelled", "lost", "late"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the thread does what."""

    lease: float = 60.0
    """Seconds a lease lasts; the registry grants it, this is what the thread counts with."""

    renew: float = 15.0
    """Between two renewals."""

    look: float = 2.0
    """Between two looks for a request to cancel."""

    beat: float = 30.0
    """Between two signs of life for Prefect."""


class Lease:
    """Keeps a taken arrival ours while the block lasts; says afterwards why it was ended early."""

    def __init__(
        self,
        arrivals: Arrivals,
        fence: Fence,
        *,
        progress: Callable[[], Json],
        beat: Callable[[], None],
        say: Callable[[str], None],
        pace: Pace,
        most: float | None,
    ) -> None:
        """Nothing is started yet.

        Args:
            arrivals: of a registry that is open for as long as the block.
            fence: of the arrival, just taken.
            progress: asked at each renewal how far the run is.
            beat: tells Prefect that the run lives.
            say: one line into the log of the arrival.
            pace: how often.
            most: seconds the run may take; None without a bound.
        """
        self._arrivals, self._fence, self._pace = arrivals, fence, pace
        self._progress, self._beat, self._say, self._most = progress, beat, say, most
        self._over = threading.Event()
        here = contextvars.copy_context()  # Prefect's settings, for its signs of life
        self._thread = threading.Thread(
            target=here.run, args=(self._keep,), name="lease", daemon=True
        )
        self.ending: Ending | None = None
        """Why the run was told to stop; None while it was not."""

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread."""
        self.settle()

    def settle(self) -> None:
        """The run is over: nothing ends it any more. The thread is not in the middle of a write then."""
        self._over.set()
        self._thread.join(timeout=GRACE)

    def _keep(self) -> None:
        try:
            self._watch()
        except Exception:  # a bug of ours: nobody renews the lease any more, so the run must end
            with suppress(OSError):
                self._say(f"the lease is kept no more: {traceback.format_exc()}")
            self._end("lost")
            raise

    def _watch(self) -> None:
        began = renewed = beaten = time.monotonic()
        self._beat()
        while not self._over.wait(self._pace.look):
            now = time.monotonic()
            try:
                if now - renewed >= self._pace.renew:
                    wanted = self._arrivals.renew(self._fence, self._progress())
                    renewed = now
                else:
                    wanted = self._arrivals.cancel_requested(self._fence)
            except FenceLost:
                return self._end("lost")
            except Unavailable:
                if now - renewed >= self._pace.lease:
                    return self._end("lost")
                continue
            if wanted:
                return self._end("cancelled")
            if self._most is not None and now - began >= self._most:
                return self._end("late")
            if now - beaten >= self._pace.beat:
                beaten = now
                self._beat()
        return None

    def _end(self, why: Ending) -> None:
        if self._over.is_set():
            return
        self.ending = why
        os.kill(os.getpid(), signal.SIGTERM)
        if self._over.wait(GRACE):
            return
        self._give_up(why)

    def _give_up(self, why: Ending) -> None:
        """End what the run started, say so in its row if the store answers, and go, whatever happens."""
        last = threading.Timer(GRACE, os._exit, (GONE,))  # a store that never answers
        last.daemon = True
        last.start()
        try:
            for member in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            if why == "cancelled":
                self._arrivals.cancelled(self._fence, "cancelled; the run had to be killed")
            elif why == "late":
                self._arrivals.failed(self._fence, LATE)
            self._say("it did not stop in time and was killed")
        except LoriError as error:  # then the lease runs out
            self._say(f"it did not stop in time and was killed; its row does not say so: {error}")
        finally:
            last.cancel()
            os._exit(GONE)
