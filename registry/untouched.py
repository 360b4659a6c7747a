"""Folders that were checked in full and that nobody has touched since, remembered in the home.

A folder is the same while every file and folder in it has the size, times and inode it had. Its
owner may set a file's time of modification back, but not its time of change: an edit always shows,
to whom does not also edit this memory or the machine's clock. So it only ever spares work for what
a decision stands on from before; what is decided about is hashed, and so is everything by `doctor`.

The memory is one line for each folder, added when it was checked. What cannot be read as such is
thrown away whole: the price is hashing again. Where most lines are outdated it is written anew.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from lori_core.digests import write_atomic
from lori_core.errors import BadInput

SETTLED_NS = 2_000_000_000
"""Younger changes are not remembered: another in the same tick of a file system's clock would not
show."""

SLACK = 100
"""Outdated lines that are let be, and as many again as there are folders."""

Marks = list[list[str | int]]
"""Path, size, time of modification, time of change, inode, device: of everything in a folder."""


@dataclass(slots=True)
class Untouched:
    """What is remembered in one file."""

    path: Path
    _known: dict[str, Marks] = field(default_factory=dict)
    _fresh: list[str] = field(default_factory=list)
    _lines: int = 0

    def __post_init__(self) -> None:
        """Read what is remembered."""
        self._known, self._lines = _read(self.path)

    def holds(self, key: str, folder: Path) -> bool:
        """Whether a folder was checked under this key and has not been touched since."""
        marks = self._known.get(key)
        return marks is not None and _still(folder, marks)

    def note(self, key: str, folder: Path, marks: Marks | None) -> None:
        """Remember that a folder that had these marks was checked, if it has them still."""
        if marks is not None and marks != self._known.get(key) and _still(folder, marks):
            self._known[key] = marks
            self._fresh.append(_line(key, marks))

    def keep(self) -> None:
        """Write what is new. Where that cannot be done nothing is lost but time."""
        if not self._fresh:
            return
        lines = "".join(f"{line}\n" for line in self._fresh).encode("ascii")
        self._lines += len(self._fresh)
        try:
            self.path.parent.mkdir(exist_ok=True)
            if self._lines > 2 * len(self._known) + SLACK:
                self._compact()
                return
            handle = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            try:
                os.write(handle, lines)  # one call: lines of two processes do not mix
            finally:
                os.close(handle)
        except OSError:
            return
        self._fresh.clear()

    def _compact(self) -> None:
        """One line for each folder. What another process adds meanwhile is hashed once more."""
        lines = "".join(f"{_line(key, marks)}\n" for key, marks in self._known.items())
        try:
            write_atomic(self.path, lines.encode("ascii"))
        except BadInput:
            return
        self._fresh.clear()
        self._lines = len(self._known)


def marks_of(folder: Path) -> Marks | None:
    """The marks of everything in a folder, to be taken before it is checked; None while it is new."""
    limit = time.time_ns() - SETTLED_NS
    marks: Marks = []
    waiting = [""]
    try:
        while waiting:
            inside = waiting.pop()
            marks.append(_mark(f"{folder}/{inside}", inside))
            with os.scandir(f"{folder}/{inside}") as entries:
                for entry in entries:
                    path = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    else:
                        marks.append(_mark(entry.path, path))
    except OSError:
        return None
    changed = (mark[3] for mark in marks)
    return marks if all(isinstance(each, int) and each < limit for each in changed) else None


def _mark(place: str, path: str) -> list[str | int]:
    found = os.lstat(place)
    return [path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _still(folder: Path, marks: Marks) -> bool:
    """What is added or taken away changes the folder it was in, which is among the marks."""
    root = str(folder)
    try:
        return all(_names(mark) and mark == _mark(f"{root}/{mark[0]}", mark[0]) for mark in marks)
    except (OSError, ValueError):  # it is gone, or is no path
        return False


def _names(mark: object) -> TypeGuard[list[str]]:
    """Whether a mark that was read begins with a path, to be compared with what is there."""
    return isinstance(mark, list) and len(mark) > 0 and isinstance(mark[0], str)


def _line(key: str, marks: Marks) -> str:
    return json.dumps([key, marks], separators=(",", ":"))


def _read(path: Path) -> tuple[dict[str, Marks], int]:
    """Folder's key -> its newest marks; and how many lines say so."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}, 0
    try:
        said = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        said = None
    known: dict[str, Marks] = {}
    for entry in said or ():
        match entry:
            case [str(key), list(marks)] if marks:
                known[key] = marks
            case _:
                said = None
    if said is not None:
        return known, len(lines)
    _forget(path)
    return {}, 0


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
