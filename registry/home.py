"""Where everything of the embedded default lies: the home folder, found, made and lockable."""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lori_core.errors import Unavailable

HOME_VARIABLE = "LORI_HOME"
FOLDER = ".lori"
ANCHORS = "anchors"
"""Folder of the home where the ends of the logs are kept (`registry.ledger`)."""

_UNWRITABLE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,  # a file where a folder should be
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}

_SAID = re.compile(
    "readonly|disk is full|disk full|disk I/O error|unable to open|"
    + "|".join(sorted(re.escape(os.strerror(number)) for number in _UNWRITABLE)),
    re.IGNORECASE,
)


def find_home(start: Path | None = None) -> Path:
    """The home folder, absolute. It is found, not made (`prepare_home` makes it).

    `LORI_HOME` if it is set; else the nearest `.lori` from `start` (default: the current folder)
    upward; else a new `.lori` in `start`.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    return here / FOLDER


def prepare_home(home: Path) -> Path:
    """Make the home folder if it is missing, and make sure that it can be written.

    One that we make is its user's alone: the store holds the webhooks' secrets.

    Raises:
        Unavailable: it cannot be made or written (beneath a file, read-only, full).
    """
    with writable(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = home / f".writable-{os.getpid()}"
        probe.write_bytes(b"lori")
        probe.unlink()
    return home


def unwritable(place: Path | str, reason: str) -> Unavailable:
    """The one sentence for every place that cannot be written."""
    return Unavailable(
        f"{place} ({reason})",
        "a folder that can be written, with room",
        f"Free some room, or set {HOME_VARIABLE} to another folder.",
    )


def says_unwritable(reason: str) -> bool:
    """Whether a library's message means that a place cannot be written or is full."""
    return _SAID.search(reason) is not None


@contextmanager
def writable(place: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals to write (not its other errors) into Unavailable."""
    try:
        yield
    except shutil.Error as refusals:  # of a copied folder: a list of sentences without a number
        if not says_unwritable(str(refusals)):
            raise
        raise unwritable(place, str(refusals.args[0][0][2])) from refusals
    except OSError as refusal:
        if refusal.errno not in _UNWRITABLE:
            raise
        raise unwritable(place, refusal.strerror or "cannot be written") from refusal


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` between processes; the system frees it when we die."""
    handle = open_lock(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def open_lock(path: Path) -> int:
    """Open a file to lock, made with its folder where missing; closing it frees the lock.

    Raises:
        Unavailable: it cannot be made.
    """
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def try_lock(handle: int) -> bool:
    """Take the exclusive lock of an open file; False at once where somebody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
