"""Several processes score the cells of one version side by side, with nothing but a shared folder.

Who scores a cell leaves `<key>.claim` beside where its result will be, and touches it as long as the
scoring goes on. A claim that nobody touches, or whose process on this host is gone, may be taken over: a
dead helper costs time and nothing else. Two who do score the same cell write the same bytes.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from flows.processes import ProcessIdentity, myself
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
            with self._path(key).open("x", encoding="utf-8") as claim:
                claim.write(_signed())
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
        """Whether who claimed it is gone, or left it untouched for as long as we watch it."""
        try:
            touched = self._path(key).stat().st_mtime_ns
            gone = _gone(self._path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._seen.pop(key, None)
            return False
        if gone:
            return True
        before, since = self._seen.get(key, (None, 0.0))
        now = time.monotonic()
        if touched != before:
            self._seen[key] = touched, now
            return False
        return now - since >= self._stale

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.claim"


def _signed() -> str:
    """What a claim says of who made it."""
    return json.dumps({"where": _where(), **myself("scoring").as_json()})


def _gone(claim: str) -> bool:
    """Whether a claim is of a process of this host that has ended; of another host we cannot know."""
    try:
        said = json.loads(claim)
    except json.JSONDecodeError:  # it is being written
        return False
    if said["where"] != _where():
        return False
    return not ProcessIdentity.from_json(said).alive()


def _where() -> str:
    """This boot of this host, and whose process numbers ours are: containers have their own."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


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
