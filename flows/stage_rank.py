"""One of several training processes, started by torchrun: see `flows.stage_launch`, `flows.ranks`."""

import importlib
import os
import signal
import sys

from flows.bound import BOUND, ORPHANED, die_with_parent
from flows.collecting import importing
from flows.reporter import Reporter
from flows.stage_worker import leaving_at_once, quiet_channel


def main() -> None:
    """Bind to torchrun, then work with the other processes until the run closes the pipe."""
    if not die_with_parent(int(os.environ[BOUND])):
        sys.exit(ORPHANED)
    reporter = Reporter(quiet_channel())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = os.environ["RANK"] == "0"  # torchrun sends SIGTERM to all; the first decides for all
    signal.signal(signal.SIGTERM, reporter.leave if first else signal.SIG_IGN)
    with leaving_at_once():
        with importing():
            ranks = importlib.import_module("flows.ranks")  # imports torch: seconds
        ranks.work(reporter)


if __name__ == "__main__":
    main()
