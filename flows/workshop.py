"""What the runs of one process share while they learn one sequence: its slot in Prefect, the turn on this
host, and the child.

A run that goes on with the next arrival (`flows.following`) finds them as the one before left them:
the child has imported what it needs and holds the base.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from flows.prior_run import only_attempt
from flows.second_fence import second_fence
from flows.stage_process import LEAVE_SECONDS, StageProcess


class Workshop:
    """Nothing is held until the first run asks. Use as a context manager."""

    def __init__(self, early: StageProcess | None = None) -> None:
        """A child that was started early is taken for the sequence; it must have been for that."""
        self._open = ExitStack()
        self._slot = False
        self._early = early
        self._stages: StageProcess | None = None

    def take_slot(self, sequence: str, ours: Callable[[], None]) -> None:
        """Have the slot of a sequence in Prefect, until `close`.

        Args:
            sequence: whose slot.
            ours: raises unless it is our turn.

        Raises:
            Unavailable: as `flows.second_fence`.
        """
        if not self._slot:
            self._open.enter_context(second_fence(sequence, ours))
            self._slot = True

    @contextmanager
    def holding(
        self, home: Path, sequence: str, ours: Callable[[], None]
    ) -> Iterator[StageProcess]:
        """Have a sequence to ourselves on this host, and a child for it, which may have to be started.

        Both stay when the block is left; everything is given up if it is left by an exception.

        Args:
            home: whose sequence.
            sequence: the same one each time, until `close`.
            ours: raises unless it is our turn; asked before an older attempt is ended.

        Raises:
            Unavailable: as `flows.prior_run.only_attempt`.
        """
        try:
            if self._stages is None:
                record = self._open.enter_context(only_attempt(home, sequence, ours))
                stages = self._early or StageProcess(home, sequence, grace=LEAVE_SECONDS)
                self._stages = self._open.enter_context(stages)
                self._early = None
                stages.recorded_by(record.add)
            yield self._stages
        except BaseException:
            with self._all():
                raise

    def close(self) -> None:
        """Give up what is held."""
        self._all().close()

    def _all(self) -> ExitStack:
        """Everything that is held, which is held by the caller from here on."""
        if self._early is not None:
            self._open.enter_context(self._early)
        self._slot, self._early, self._stages = False, None, None
        return self._open.pop_all()

    def __enter__(self) -> Self:
        """Nothing is held yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is held."""
        self.close()
