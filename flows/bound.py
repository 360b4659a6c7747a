"""Start a command that dies with its parent: `python -m flows.bound PARENT COMMAND...`.

The kernel ends the command when the parent is gone, however the parent went (PR_SET_PDEATHSIG). A
parent that dies before the request is made would never be noticed, so it is looked at once more
afterwards. The request survives the exec that follows. Two things to know: the signal is tied to
the parent's *thread*, so start bound commands from the main thread; and where there is no Linux
the command starts unbound (`flows.prior_run` ends leftovers before anything is resumed).

Standard library alone, so that it starts in a few milliseconds.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
BOUND = "LORI_BOUND"
"""Names the bound process to those it starts, which may bind themselves to it."""

ORPHANED = 70
"""Exit code when the parent died before the command could start."""


def bound_command(*command: str) -> list[str]:
    """The command line that runs `command` bound to this process."""
    return [sys.executable, "-I", "-S", str(Path(__file__).absolute()), str(os.getpid()), *command]


def die_with_parent(parent: int) -> bool:
    """Ask the kernel to kill this process when its parent dies; False if `parent` is gone already."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    return os.getppid() == parent


def main(arguments: Sequence[str]) -> None:
    """Bind to the parent named first, then become the command named after it."""
    parent, *command = arguments
    if not die_with_parent(int(parent)):
        sys.exit(ORPHANED)
    os.environ[BOUND] = str(os.getpid())
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
