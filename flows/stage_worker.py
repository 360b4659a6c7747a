"""The training child itself: `python -m flows.stage_worker`. See `flows.stage_protocol`."""

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypedDict

from flows.collecting import importing
from flows.reporter import Leaving, Reporter
from flows.stage_protocol import RESULT, SPEC, refusal
from lori_core.digests import write_json
from lori_core.errors import BadInput, CheckFailed, RankLost
from registry.home import writable


class Order(TypedDict):
    """What comes down the pipe."""

    stage: str

    folder: str
    """Where its spec lies and its result goes."""


def main() -> None:
    """Serve stages until the pipe from the run is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reporter = Reporter(quiet_channel())
    signal.signal(signal.SIGTERM, reporter.leave)
    with importing():
        importlib.import_module("flows.stages.table")  # imports torch: seconds
    reporter.say({"event": "ready", "pids": []})
    with leaving_at_once():
        serve(map(json.loads, sys.stdin.buffer), reporter)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process with the block: torch takes seconds to tidy up what the kernel frees anyway."""
    code = 1
    try:
        yield
        code = 0
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def quiet_channel() -> BinaryIO:
    """The pipe to the run; whatever a library prints goes to the log instead."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return channel


def serve(orders: Iterable[Order], reporter: Reporter) -> None:
    """Run the stage of every order and say how it ended."""
    stages = importlib.import_module("flows.stages.table").STAGES
    for order in orders:
        folder = Path(order["folder"])
        try:
            spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
            with writable(folder):
                result = stages[order["stage"]](spec, folder, reporter)
                write_json(folder / RESULT, result)
        except (BadInput, CheckFailed) as error:
            reporter.say(refusal(error))
        except (Leaving, RankLost):
            raise
        except BaseException:
            reporter.say({"event": "failed", "traceback": traceback.format_exc()})
            raise
        else:
            reporter.say({"event": "done"})


if __name__ == "__main__":
    main()
