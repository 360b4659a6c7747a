"""Progress for people, on stderr: a moving bar at a terminal, plain lines anywhere else."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from flows.stage_protocol import StageProgress

PLAIN_SECONDS = 10.0
"""Between two plain lines of the same stage."""


class Narrator:
    """Tells what is being done. Silent until its first word."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(
            file=sys.stderr,
            highlight=False,
            markup=False,
            emoji=False,
            quiet=quiet,
            soft_wrap=True,
        )
        self._bar: Progress | None = None
        self._row: TaskID | None = None
        self._stage = ""
        self._began = time.monotonic()
        self._told = 0.0

    def __enter__(self) -> Self:
        """Take hold of the terminal, if there is one."""
        if self.console.is_terminal and not self.console.quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total}"),
                TextColumn("{task.fields[text]}", style="dim", markup=False),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back, whatever happened."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text)

    def begin(self, stage: str) -> None:
        """A stage begins."""
        self._stage, self._began, self._told = stage, time.monotonic(), time.monotonic()
        if self._bar is not None:
            self._row = self._bar.add_task(stage, total=None, text="")

    def progress(self, progress: StageProgress) -> None:
        """How far the stage is."""
        if self._bar is not None and self._row is not None:
            total = progress.total or None
            self._bar.update(self._row, completed=progress.done, total=total, text=progress.text)
        elif time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            self.say(f"  {self._stage}: {progress.done}/{progress.total} {progress.text}")

    def end(self, outcome: str = "") -> None:
        """The stage is over."""
        if self._bar is not None and self._row is not None:
            self._bar.remove_task(self._row)
            self._row = None
        seconds = time.monotonic() - self._began
        self.say(f"  {self._stage} {outcome + ' ' if outcome else ''}({seconds:.1f} s)")
