"""Keeps services running: starts them side by side, asks each whether it is well, starts the dead again.

Every service is bound to this process (`flows.bound`): however it ends, they end. Run `keep` in the
main thread, because the kernel ties that bond to the thread.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flows.bound import bound_command
from flows.not_started import ServiceNotStarted, last_words
from flows.processes import ProcessIdentity, end_together, identify
from flows.services import Service
from registry.home import writable
from registry.waits import doubled

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before a dead service is started again: doubled each time, until it was well for a while."""

WELL_SECONDS = 60.0
"""Well for so long, it begins with the first wait again."""

START_SECONDS = 180.0
"""What a service gets to become healthy."""

TRIES = 3
"""Starts after which a service that never became healthy is given up."""

LOOK_SECONDS, ASK_SECONDS = 0.2, 15.0
"""Between two looks at the processes, and between two questions to one that was well."""


class Kept:
    """One service: its process now, and how it fared."""

    def __init__(self, service: Service, logs: Path) -> None:
        self.service = service
        self.log = logs / f"up-{service.name}.log"
        self.identity: ProcessIdentity | None = None
        self.healthy = False
        self.was_healthy = False
        self.done = False
        """A service that does its work once has done it."""
        self._child: subprocess.Popen[bytes] | None = None
        self._tries = 0
        self._since = datetime.now(UTC)
        self._well_since = self._asked = 0.0
        self._last_answer = time.monotonic()
        self._start_at = 0.0

    def due(self, now: float) -> bool:
        """Whether it is to be started."""
        idle = self.service.ours and self._child is None and not self.done
        return idle and now >= self._start_at

    def start(self) -> None:
        """Start its process; return at once."""
        with writable(self.log):
            log = self.log.open("ab")
        with log:
            self._child = subprocess.Popen(
                bound_command(*self.service.command),
                env={**os.environ, **self.service.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent.parent,
                process_group=0,  # Ctrl-C is ours to handle, not theirs
            )
        self.identity = identify(self._child.pid, self.service.name)
        self._since = datetime.now(UTC)
        self._last_answer = time.monotonic()
        self._tries += 1

    def look(self, now: float) -> str | None:
        """See whether it lives and is well; what is to be told of it, if anything.

        Raises:
            ServiceNotStarted: it was never well, and was tried often enough.
        """
        if self._child is not None and (code := self._child.poll()) is not None:
            if code == 0 and self.service.once:
                self.gone()
                self.healthy = self.done = True
                return None
            how = f"ended with exit code {code}" if code >= 0 else f"ended by signal {-code}"
            return self._died(now, how)
        if now - self._asked < (ASK_SECONDS if self.healthy else LOOK_SECONDS):
            return None
        self._asked = now
        if self.service.healthy(self._since):
            return self._answered(now)
        limit = self.service.silence if self.healthy else START_SECONDS
        if now - self._last_answer <= limit:
            return None
        if not self.service.ours:
            if not self.was_healthy:
                raise ServiceNotStarted(self.service.name, self.service.url, "it does not answer")
            if not self.healthy:
                return None
            self.healthy = False  # who needs it is forgiven meanwhile: its outage ends no training
            return f"{self.service.name} gave no answer for {limit:.0f} s; it is waited for"
        self.end()
        return self._died(now, f"gave no answer for {limit:.0f} s")

    def forgive(self) -> None:
        """Who is asked about it is away: its silence says nothing."""
        self._last_answer = time.monotonic()

    def end(self) -> None:
        """End its process and all that it started."""
        if self._child is not None and self.identity is not None:
            end_together([self.identity], grace=self.service.grace)
            self._child.wait()
        self.gone()

    def gone(self) -> None:
        """Its process was ended."""
        if self._child is not None:
            self._child.wait()
        self._child, self.identity, self.healthy = None, None, False

    def _answered(self, now: float) -> str | None:
        self._last_answer = now
        if not self.healthy:
            self.healthy = self.was_healthy = True
            self._well_since = now
            return f"{self.service.name} {self.service.url} healthy"
        if now - self._well_since > WELL_SECONDS:
            self._tries = 0
        return None

    def _died(self, now: float, how: str) -> str:
        if not self.was_healthy and self._tries >= TRIES:
            raise ServiceNotStarted(self.service.name, str(self.log), last_words(self.log))
        self.gone()
        wait = doubled(FIRST_WAIT, LONGEST_WAIT, self._tries)
        self._start_at = now + wait
        return f"{self.service.name} {how}; again in {wait:.0f} s (log: {self.log})"


@contextmanager
def supervised(services: Sequence[Service], home: Path) -> Iterator[list[Kept]]:
    """The services, none started yet; when the block is left, however it is left, all are ended."""
    logs = home / "logs"
    with writable(logs):
        logs.mkdir(parents=True, exist_ok=True)
    kept = [Kept(service, logs) for service in services]
    try:
        yield kept
    finally:
        _end_all(kept)


def keep(kept: Sequence[Kept], *, say: Callable[[str], None], changed: Callable[[], None]) -> None:
    """Look after the services until a signal's exception leaves this.

    Args:
        kept: what `supervised` yielded.
        say: told each line worth telling.
        changed: called when a process was started, or a service became healthy.

    Raises:
        ServiceNotStarted: one never became healthy.
    """
    by_name = {each.service.name: each for each in kept}
    while True:
        for each in kept:
            ready = all(by_name[name].healthy for name in each.service.after)
            now = time.monotonic()
            if ready and each.due(now):
                each.start()
                changed()
            if not ready:
                each.forgive()
            if each.identity is None and each.service.ours:
                continue
            before = each.healthy
            if line := each.look(now):
                say(line)
            if each.healthy != before:
                changed()
        time.sleep(LOOK_SECONDS)


def _end_all(kept: Sequence[Kept]) -> None:
    """Workers first, so that what they run finds the servers it files its last words with."""
    for wave in sorted({each.service.wave for each in kept}, reverse=True):
        leaving = [each for each in kept if each.service.wave == wave]
        grace = max(each.service.grace for each in leaving)
        end_together([each.identity for each in leaving if each.identity], grace=grace)
        for each in leaving:
            each.gone()
