"""What the steps of a run share and cannot pass along: the home, the registry, the child, the bar.

Prefect's tasks are given names and digests alone; whatever is open is found here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from flows.plan import Plan
from flows.progress import Narrator
from flows.stage_process import StageProcess
from registry.desks import Decisions
from registry.store import Registry


@dataclass(frozen=True, slots=True)
class Running:
    """One run, opened."""

    home: Path

    plan: Plan
    """What the sequence file asks for."""

    base: str
    """Digest of the base."""

    registry: Registry

    desk: Decisions
    """Where versions are judged and promoted."""

    stages: StageProcess
    """The training child."""

    narrator: Narrator
    """Where progress is told."""

    def folder(self, stage: str, key: str) -> Path:
        """The folder of one stage."""
        return self.home / "stages" / f"{stage}-{key[:16]}"


_current: ContextVar[Running] = ContextVar("running")


def running() -> Running:
    """The run this step belongs to."""
    return _current.get()


@contextmanager
def as_running(run: Running) -> Iterator[Running]:
    """Make `run` the one that steps find."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
