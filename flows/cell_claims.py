"""Several processes score the cells of one version side by side, with nothing but a shared folder.

Who scores a cell leaves `<key>.claim` beside where its result will be, and touches it as long as the
scoring goes on. A claim that nobody touches is of somebody who is gone, and may be taken over: a dead
helper costs time and nothing else. Two who do score the same cell write the same bytes.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lori_core.errors import CheckFailed

STALE_SECONDS = 60.0
"""How long a claim is respected without a sign of life, on the watcher's own clock."""

POLL_SECONDS = 0.5

_RENEW_SECONDS = 5.0


class Claims:
    """The claims in one folder, as one process sees them."""

    def __init__(self, folder: Path, *, stale: float = STALE_SECONDS) -> None:
        self._folder = folder
        self._stale = stale
        self._seen: dict[str, tuple[int, float]] = {}
        self._renewed = 0.0

    def take(self, key: str) -> bool:
        """Claim a cell, unless somebody else does who is alive."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._abandoned(key):
            self.drop(key)
        try:
            os.close(os.open(self._path(key), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return False
        return True

    def renew(self, key: str) -> None:
        """Show that the cell is still being scored (every few seconds at most)."""
        now = time.monotonic()
        if now - self._renewed >= _RENEW_SECONDS:
            self._renewed = now
            self._path(key).touch()

    def drop(self, key: str) -> None:
        """The cell is scored, or will not be."""
        self._path(key).unlink(missing_ok=True)

    def _abandoned(self, key: str) -> bool:
        """Whether the claim was left untouched for as long as we watch it."""
        try:
            touched = self._path(key).stat().st_mtime_ns
        except FileNotFoundError:
            self._seen.pop(key, None)
            return False
        before, since = self._seen.get(key, (None, 0.0))
        now = time.monotonic()
        if touched != before:
            self._seen[key] = touched, now
            return False
        return now - since >= self._stale

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.claim"


def side_by_side(
    keys: Sequence[str],
    *,
    scored: Callable[[str], bool],
    score: Callable[[str, Callable[[], None]], None],
    claims: Claims | None,
    wait: Callable[[int], None] | None,
) -> None:
    """Have every cell scored: by us, or by others who score the same ones meanwhile.

    Args:
        keys: of the cells.
        scored: whether a cell is known by now.
        score: scores one; calls what it is given as long as it goes on.
        claims: of all who score these cells; None when nobody else does.
        wait: called with the number of cells that others hold, until they are scored or given up;
            None leaves once nothing is free.

    Raises:
        CheckFailed: a cell was scored and its result is not sound.
    """
    missing = list(keys)
    while missing:
        held = []
        for key in missing:
            if scored(key):
                continue
            if claims is not None and not claims.take(key):
                held.append(key)
                continue
            try:
                if not scored(key):  # until just now
                    score(key, partial(_still, claims, key))
            finally:
                if claims is not None:
                    claims.drop(key)
            if not scored(key):
                raise CheckFailed(f"cell {key}", "its result was written and cannot be read")
        if held and wait is None:
            return
        if held and wait is not None:
            wait(len(held))
        missing = held


def _still(claims: Claims | None, key: str) -> None:
    if claims is not None:
        claims.renew(key)
