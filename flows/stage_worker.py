"""The training child itself: `python -m flows.stage_worker`. See `flows.stage_protocol`."""

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from flows.reporter import Leaving, Reporter
from flows.stage_protocol import RESULT, SPEC, refusal
from lori_core.digests import write_json
from lori_core.errors import BadInput, CheckFailed
from registry.home import writable


def main() -> None:
    """Serve stages until the pipe from the run is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    reporter = Reporter(channel)
    signal.signal(signal.SIGTERM, reporter.leave)
    stages = importlib.import_module("flows.stages.table").STAGES
    reporter.say({"event": "ready"})
    for order in map(json.loads, sys.stdin.buffer):
        folder = Path(order["folder"])
        try:
            spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
            with writable(folder):
                result = stages[order["stage"]](spec, folder, reporter)
                write_json(folder / RESULT, result)
        except (BadInput, CheckFailed) as error:
            reporter.say(refusal(error))
        except Leaving:
            raise
        except BaseException:
            traceback.print_exc()
            reporter.say({"event": "failed", "traceback": traceback.format_exc()})
            raise
        else:
            reporter.say({"event": "done"})


if __name__ == "__main__":
    main()
