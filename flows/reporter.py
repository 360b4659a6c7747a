"""What a stage says while it works, and how it learns that it should leave."""

import signal
import time
from typing import BinaryIO

from flows.stage_protocol import line
from lori_core.phase import Progress

PROGRESS_SECONDS = 0.2


class Leaving(SystemExit):
    """SIGTERM arrived and what was learned so far is on disk."""


class Timer:
    """Whether so many seconds went by since it was last started."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._began = time.monotonic()

    def over(self) -> bool:
        """Whether they went by."""
        return time.monotonic() - self._began >= self._seconds


class Reporter:
    """What a stage may say while it works, and whether it should write a checkpoint and leave."""

    def __init__(self, channel: BinaryIO) -> None:
        self._channel = channel
        self._told = 0.0
        self._leave = False

    def leave(self, _signal: int, _frame: object) -> None:
        """The handler of SIGTERM."""
        self._leave = True

    def checkpoint_due(self) -> bool:
        """Asked by training at each step; the checkpoint it then writes is the last."""
        return self._leave

    def training(self, progress: Progress) -> None:
        """What training tells after each step; we leave only once its checkpoint is written."""
        if self._leave and not progress.saved:
            return
        text = f"{progress.task}: {progress.phase}, loss {progress.loss:.3f}"
        self.progress(progress.step, progress.total, text)

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Tell how far the stage is (at most five times a second); leave if told to."""
        if self._leave:
            raise Leaving(128 + signal.SIGTERM)
        now = time.monotonic()
        if done < total and now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        self.say({"event": "progress", "done": done, "total": total, "text": text})

    def say(self, message: dict[str, object]) -> None:
        """One message up."""
        self._channel.write(line(message))
        self._channel.flush()
