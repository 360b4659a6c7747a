"""Run code that a model wrote against its tests, and let it do nothing else.

Each run has a process of its own under a guard of its own (`sandbox_guard.py`). Always: no other
process, no signals, no network, no privileges (a system-call filter, `seccomp.py`, which holds for
root and for a normal user alike), limits of CPU time, memory, file size and open files, an empty
environment, nothing on stdin, stdout and stderr thrown away, and a time after which it is ended.
Where the system grants user namespaces, it also sees no other process and writes only into a small
empty folder in memory, which vanishes with it; where not (in most containers) it cannot write at
all. Only the standard library can be imported.

What a pass means: the code ran to its end, then every test did, and the same run with a test that
cannot hold did not pass. What it cannot mean: that the answers are right. Code that answers tests
with an object equal to everything passes them, as it would under any harness that runs tests.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from lori_core.errors import BadInput
from lori_core.seccomp import sandbox_filter

Outcome = Literal[
    "passed", "failed", "error", "syntax", "memory", "timeout", "crashed", "exited", "faked"
]
Isolation = Literal["namespaces", "filter"]

_GUARD = Path(__file__).with_name("sandbox_guard.py")
_CONTROL = "raise AssertionError('the control test')"
_GRACE = 30.0  # seconds beyond the limit before even the guard is given up, on a loaded machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use."""

    cpu_seconds: int = 4
    """Of CPU time: what a busy loop meets, on a loaded machine as on an idle one."""

    wall_seconds: float = 12.0
    """Of real time: what a sleeping one meets."""

    memory_bytes: int = 512 << 20
    """Of address space, Python's own included."""

    file_bytes: int = 1 << 20
    """Size of a file it writes, where it may write at all."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one run."""

    outcome: Outcome
    """`passed`, `failed` a test, an `error` in the code, no `syntax`, out of `memory` or time
    (`timeout`), `crashed`, `exited` before its tests did, or `faked` a pass."""

    detail: str = ""
    """The exception or the limit, in a line."""

    @property
    def passed(self) -> bool:
        """Whether every test held."""
        return self.outcome == "passed"


def run_tests(
    code: str,
    tests: Sequence[str],
    *,
    limits: Limits | None = None,
    isolation: Isolation | None = None,
) -> Verdict:
    """Run `code`, then each of `tests` in the same module; say what became of it.

    Whatever the code is or does, this returns. It takes about 0.1 s for code that passes.

    Args:
        code: a Python module.
        tests: statements that raise when the code is wrong, at least one.
        limits: by default 4 s of CPU time and 512 MiB.
        isolation: by default the best this system grants (`best_isolation`).

    Raises:
        BadInput: no tests, or a system that can isolate nothing.
    """
    if not tests:
        raise BadInput("code without tests", "one test or more", "Add them to the row.")
    limits = limits or Limits()
    wanted: list[Isolation] = [isolation] if isolation else [best_isolation(), "filter"]
    for chosen in wanted:  # the second only where the system has run out of namespaces
        verdict = _run_once(code, tests, limits, chosen)
        if verdict is None:
            continue
        if verdict.passed:
            control = _run_once(code, [*tests, _CONTROL], limits, chosen)
            if control is None:
                continue
            if control.passed:
                return Verdict("faked", "passed a test that cannot hold")
        return verdict
    raise _cannot_isolate()


@cache
def best_isolation() -> Isolation:
    """`namespaces` where the system grants them to this user, else `filter`.

    Raises:
        BadInput: not even a system-call filter is to be had.
    """
    for isolation in ("namespaces", "filter"):
        verdict = _run_once("", ["pass"], Limits(), isolation)
        if verdict is not None and verdict.passed:
            return isolation
    raise _cannot_isolate()


def _run_once(
    code: str, tests: Sequence[str], limits: Limits, isolation: Isolation
) -> Verdict | None:
    """One run under one guard. None: this isolation is not to be had here."""
    program = sandbox_filter(writes=isolation == "namespaces")
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as folder:
        job = {
            "code": code,
            "tests": list(tests),
            "folder": folder,
            "namespaces": isolation == "namespaces",
            "filter": base64.b64encode(program).decode(),
            **asdict(limits),
        }
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=folder,
            start_new_session=True,
        )
        with guard:
            try:
                told, _ = guard.communicate(
                    json.dumps(job).encode(), timeout=limits.wall_seconds + _GRACE
                )
            except subprocess.TimeoutExpired:
                return Verdict("timeout", "its guard did not answer")
            finally:
                guard.kill()  # its child dies with it
    try:
        verdict = json.loads(told)
    except ValueError:
        return Verdict("crashed", "its guard did not answer")
    if verdict["outcome"] == "unavailable":
        return None
    return Verdict(verdict["outcome"], verdict["detail"])


def _cannot_isolate() -> BadInput:
    return BadInput(
        "pass_at_k: this system can isolate no code",
        "Linux on x86-64 or arm64 with seccomp filters",
        "Evaluate this task on such a machine.",
    )
