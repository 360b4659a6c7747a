"""The process of one flow run: `python -m flows.flow_process`, started by a worker through `flows.bound`.

It is Prefect's engine, in a process group of its own (a terminal's Ctrl-C is the worker's to handle) and
without the engine's heartbeats: they cost each flow up to a second at its end; `flows.lease` sends them.
"""

import os
import runpy
import signal


def main() -> None:
    """Run the flow that PREFECT__FLOW_RUN_ID names."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
