"""Room for what a run writes: looked at before anything is written, told in one line when short."""

import contextlib
import fcntl
import os
import resource
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from lori_core.errors import BadInput, CheckFailed
from registry.home import prepare_home, writable
from registry.settings import DATABASE

DATABASES = 64 * 1024**2
"""Bytes the databases of registry, MLflow and Prefect may take for a few sequences."""

FULL = 1024**2
"""Bytes; where not even these can be written, a disk is full."""

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
        """Raise BadInput instead of the library's error if nothing can be written any more."""
        if not isinstance(error, Exception) or isinstance(error, (BadInput, CheckFailed)):
            return
        if told := _no_room(self._home):
            raise told from error


class HomeOfARun:
    """The home while a run is looked at: a run that is refused leaves it as it was before.

    Runs hold the home together (a lock on the folder itself, freed by the kernel however they die),
    so that a refused one never takes away what another is just making: where it is not alone, what
    it left stays. What failed by a bug stays too, because its log is needed.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._before: set[Path] = set()
        self._made: list[Path] = []
        self._handle: int | None = None
        self._accepted = False

    @property
    def fresh(self) -> bool:
        """Whether this run made the home."""
        return bool(self._made)

    def __enter__(self) -> Self:
        """Remember what is there; nothing is made yet."""
        if self._home.is_dir() and self._hold():
            self._before = _listing(self._home)
        return self

    def prepare(self) -> None:
        """Make the home where it is missing.

        Raises:
            BadInput: there is too little room, or it cannot be written.
        """
        require_room(self._home)
        if self._handle is None:
            self._made = [each for each in (self._home, *self._home.parents) if not each.exists()]
        prepare_home(self._home)
        while self._handle is None and not self._hold():
            prepare_home(self._home)

    def accept(self) -> None:
        """The run goes on: from now on everything stays."""
        self._accepted = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take away what came since, if the run was refused or stopped before it was accepted."""
        try:
            if isinstance(error, _REFUSALS) and not self._accepted and self._alone():
                self._tidy()
        finally:
            if self._handle is not None:
                os.close(self._handle)

    def _hold(self) -> bool:
        """Hold the home together with other runs; False if a refused one just took it away."""
        handle = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if not _is_still(handle, self._home):
            os.close(handle)
            return False
        self._handle = handle
        return True

    def _alone(self) -> bool:
        """Whether no other run holds the home."""
        if self._handle is None:
            return False
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held, or a file system that cannot say
            return False
        return True

    def _tidy(self) -> None:
        # A home of ours in which anything was recorded is never taken away.
        if self._made and not (self._home / DATABASE).exists():
            shutil.rmtree(self._home, ignore_errors=True)
        for path in sorted(_listing(self._home) - self._before, reverse=True):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):  # gone, or somebody put something there
                folder.rmdir()


_REFUSALS = (BadInput, CheckFailed, OSError, KeyboardInterrupt, SystemExit)

_FOLDERS = ("logs", "memo", "runs")
"""Folders of the home in which a run that is only looked at leaves files."""

_SERVER = "prefect"
"""What the server makes, as one: its files are its own affair."""


def _listing(home: Path) -> set[Path]:
    if not home.is_dir():
        return set()
    folders = [home / name for name in _FOLDERS]
    made = {path for path in (*folders, home / _SERVER) if path.exists()}
    return made | {path for folder in folders for path in folder.rglob("*")}


def _is_still(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False


def _no_room(home: Path) -> BadInput | None:
    """What keeps us from writing in the home, or None."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < DATABASES:
        return _short(home, f"files are limited to {_mib(limit)}", DATABASES)
    probe = home / f".room-{os.getpid()}"
    try:
        with writable(home):
            try:
                probe.write_bytes(bytes(FULL))
            finally:
                probe.unlink(missing_ok=True)
    except BadInput as found:
        return found
    return None


def _short(home: Path, finding: str, needed: int) -> BadInput:
    return BadInput(
        f"{home}: {finding}", f"room for about {_mib(needed)}", "Free some, or set LORI_HOME."
    )


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"
