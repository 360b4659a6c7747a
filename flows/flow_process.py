"""The process of one flow run: `python -m flows.flow_process [SEQUENCE]`, started by a worker through `flows.bound`.

It is Prefect's engine, in a process group of its own (a terminal's Ctrl-C is the worker's to handle) and
without the engine's heartbeats: they cost each flow up to a second at its end; `flows.lease` sends them.
A run that learned an arrival may be followed by another here (`flows.following`). Where a sequence is
named, its training child is started first: it imports torch while we import Prefect.
"""

import os
import runpy
import signal
import sys

from flows.collecting import collecting_seldom
from flows.stage_process import LEAVE_SECONDS, StageProcess
from registry.home import find_home

RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"


def main() -> None:
    """Run the flow that PREFECT__FLOW_RUN_ID names, and what follows it."""
    if os.getpgrp() != os.getpid():  # a container's first process leads a session, and may not
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    early = None
    for sequence in sys.argv[1:]:
        early = StageProcess(find_home(), sequence, grace=LEAVE_SECONDS)
        early.start()
    del sys.argv[1:]  # Prefect's engine would read them
    with collecting_seldom():  # the child trains; we import much and wait
        serve(early)


def serve(early: StageProcess | None) -> None:
    """The run, and what follows it."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.following import Following

    with (
        temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        Following(early) as following,
    ):
        run: str | None = os.environ[RUN_VARIABLE]
        while run is not None:
            os.environ[RUN_VARIABLE] = run
            runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
            run = following.next_run()


if __name__ == "__main__":
    main()
