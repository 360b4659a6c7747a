"""What may pass is tried again, what will not is not: a sentence for each way a run can end badly.

Servers that are away come back: tried until they have. A killed process may have been an accident:
tried again, a few times. Rows that are wrong stay wrong, and a task that ran out of memory would do so
again: failed at once, with what can be done. A worker without the right to file goes on as soon as it is
started again with a token that has it, or another worker takes the task: given back with the reason.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from flows.prefect_api import unwell
from flows.stage_protocol import StageCrashed
from lori_core.errors import BadInput, CheckFailed, LoriError, Unavailable, without_rows
from registry.accounts import TokenRefused
from registry.turns import MOST_ATTEMPTS

OUT_OF_MEMORY = (
    "out of memory. Raise training.gradient_accumulation_steps, or lower training.max_length or "
    "training.train_batch_size, or give it a host with more; then submit it so, or `lori retry`"
)

BARRED = (
    "The worker lacks the right: start `lori up` or `lori worker` again with LORI_TOKEN set to a "
    "trainer's token; it waits meanwhile"
)

_SAID = re.compile(r"MemoryError|OutOfMemoryError|can't allocate memory|CUDA out of memory")
_KILLED = re.compile(r"was killed|was ended by signal")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What to do about a run that ended badly."""

    kind: Literal["away", "barred", "again", "failed"]
    """`barred`: whoever runs the worker has to give it a token; every kind but `failed` waits again."""

    reason: str
    """In one line."""


def trouble_of(error: BaseException, lost: int, oom_kills: int) -> Trouble:
    """Judge an error that ended a run.

    Args:
        error: that ended it.
        lost: attempts whose processes were killed or ended without a word, with this one.
        oom_kills: how many processes of this control group the kernel ended for memory meanwhile.
    """
    told = _line(error)
    if _lacks_right(error):
        return Trouble("barred", f"{told.rstrip('.')}. {BARRED}")
    if isinstance(error, Unavailable) or _server_away(error):
        return Trouble("away", told)
    if isinstance(error, MemoryError) or _SAID.search(told) or _said_by_child(error):
        return Trouble("failed", OUT_OF_MEMORY)
    if isinstance(error, StageCrashed) and _KILLED.search(error.account):
        if oom_kills:
            return Trouble("failed", OUT_OF_MEMORY)
        if lost >= MOST_ATTEMPTS:
            return Trouble("failed", f"{told}; {lost} attempts ended so or without a word")
        return Trouble("again", told)
    return Trouble("failed", told)


def oom_kills() -> int:
    """How often the kernel ended a process of our control group because memory ran out; 0 unknown."""
    for place in _events():
        try:
            lines = place.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def _events() -> list[Path]:
    """Where the kernel counts: version 2 of control groups, then version 1."""
    root = Path("/sys/fs/cgroup")
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in own:
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if controllers == "":
            found += [root / inside / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            memory = root / "memory"
            found += [memory / inside / "memory.oom_control", memory / "memory.oom_control"]
    return found


def _server_away(error: BaseException | None) -> bool:
    """Whether Prefect's server was away or unwell, at the bottom of what was raised."""
    while error is not None:
        if isinstance(error, PrefectHTTPStatusError):
            return unwell(error.response.status_code)
        if isinstance(error, httpx.TransportError):
            return True
        error = error.__cause__
    return False


def _lacks_right(error: BaseException) -> bool:
    """Whether who acts may not do it, or his token is refused."""
    return isinstance(error, TokenRefused) or (
        isinstance(error, CheckFailed) and error.check == "role"
    )


def _said_by_child(error: BaseException) -> bool:
    return isinstance(error, StageCrashed) and _SAID.search(error.account) is not None


def _line(error: BaseException) -> str:
    if isinstance(error, StageCrashed):
        return f"{error.stage}: {error.last_line} (log: {error.log})"
    if isinstance(error, BadInput | CheckFailed):
        return " ".join(without_rows(error).split())  # any viewer reads it
    if isinstance(error, LoriError):
        return " ".join(str(error).split())
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
