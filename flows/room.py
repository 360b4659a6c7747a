"""Room for what a run writes: looked at before anything is written, told in one line when short."""

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from lori_core.errors import BadInput, LoriError
from registry.home import prepare_home, unwritable

DATABASES = 64 * 1024**2
"""Bytes the databases of registry, MLflow and Prefect may take for a few sequences."""

FULL = 1024**2
"""Bytes; with less than this free, a disk is full."""

BYTES_PER_ENTRY = 32
"""Of B: calibration and two checkpoints of parameter and two moments, in fp32, with some slack."""


def require_room(home: Path, entries: int = 0) -> None:
    """Refuse to begin where the run would run out of room.

    Args:
        home: the home folder, which may not exist yet.
        entries: entries of B; 0 while they are unknown.

    Raises:
        BadInput: the disk is too full, or a limit on file sizes is too low.
    """
    needed = DATABASES + BYTES_PER_ENTRY * entries
    standing = next(folder for folder in (home, *home.parents) if folder.is_dir())
    free = shutil.disk_usage(standing).free
    if free < needed:
        raise _short(home, f"{_mib(free)} free on its disk", needed)
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < needed:
        raise _short(home, f"files are limited to {_mib(limit)}", needed)


class FullDiskTold:
    """Where a library stumbled over a full disk, say that it was the disk."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise BadInput instead of the library's error if there is no room left."""
        if not isinstance(error, Exception) or isinstance(error, (LoriError, OSError)):
            return
        if shutil.disk_usage(self._home).free < FULL:
            raise unwritable(self._home, "no space left on device") from error


@contextmanager
def home_of_a_run(home: Path) -> Iterator[Callable[[], None]]:
    """Make the home for a run. If it was not there before and the run is refused, nothing stays.

    Yields the function that says the run was accepted: from then on everything stays.
    """
    existed = home.exists()
    accepted: list[bool] = []
    require_room(home)
    prepare_home(home)
    try:
        yield lambda: accepted.append(True)
    finally:
        if not existed and not accepted:
            shutil.rmtree(home, ignore_errors=True)


def _short(home: Path, finding: str, needed: int) -> BadInput:
    return BadInput(
        f"{home}: {finding}", f"room for about {_mib(needed)}", "Free some, or set LORI_HOME."
    )


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"
