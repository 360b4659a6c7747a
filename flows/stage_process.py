"""The training child: one for each run, started through `flows.bound`, fed one stage at a time.

Training has a process of its own so that an out-of-memory kill takes neither the flow nor the
server, and memory is surely free afterwards. The child ignores Ctrl-C (a terminal sends it to
everybody); we end it ourselves: SIGTERM lets it write a checkpoint, SIGKILL follows.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flows.bound import bound_command
from flows.processes import ProcessIdentity, end, identify
from flows.stage_protocol import (
    SPEC,
    StageCrashed,
    StageProgress,
    line,
    raise_refusal,
    read_result,
)
from lori_core.digests import write_json
from registry.home import writable

SHARED_CORES = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch that wait, wait asleep: where cores are shared, spinning costs ten times the work."""

GRACE_SECONDS = 20.0
"""What a stage gets to write its checkpoint when it is told to leave."""


class StageProcess:
    """Runs stages in a child process. Use as a context manager."""

    def __init__(self, home: Path, name: str) -> None:
        self.log = home / "logs" / f"stages-{name}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._identity: ProcessIdentity | None = None

    def start(self) -> ProcessIdentity:
        """Start the child (from the main thread: see `flows.bound`); it imports while we go on."""
        with writable(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            log = self.log.open("ab")
        with log:
            self._child = subprocess.Popen(
                bound_command(sys.executable, "-m", "flows.stage_worker"),
                env={**SHARED_CORES, **os.environ, "TOKENIZERS_PARALLELISM": "false"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        self._identity = identify(self._child.pid, "stages")
        return self._identity

    def run(
        self,
        stage: str,
        folder: Path,
        spec: Mapping[str, object],
        on_progress: Callable[[StageProgress], None],
    ) -> dict[str, Any]:
        """Run one stage in `folder` and return its result.

        Raises:
            BadInput, CheckFailed: what the stage said no to.
            StageCrashed: the child failed or was killed.
        """
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / SPEC, spec)
        child = self._running()
        self._send(child, {"stage": stage, "folder": str(folder)})
        assert child.stdout is not None
        for message in map(json.loads, child.stdout):
            if message["event"] == "progress":
                progress = message["done"], message["total"], message["text"]
                on_progress(StageProgress(stage, *progress))
            elif message["event"] == "done":
                return read_result(folder)
            elif message["event"] == "refused":
                raise_refusal(message)
            elif message["event"] == "failed":
                raise StageCrashed(stage, str(self.log), message["traceback"])
        raise StageCrashed(stage, str(self.log), _how_it_ended(child.wait()))

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """Tell the child to checkpoint and leave; end it after `grace` seconds."""
        child, self._child = self._child, None
        if child is None or self._identity is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # an order it never read
            child.stdin.close()
        end(self._identity, grace=grace)
        child.wait()
        child.stdout.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self.start()
        assert self._child is not None
        return self._child

    def _send(self, child: subprocess.Popen[bytes], message: Mapping[str, object]) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(line(message))
            child.stdin.flush()
        except BrokenPipeError as gone:
            account = _how_it_ended(child.wait())
            raise StageCrashed(str(message["stage"]), str(self.log), account) from gone

    def __enter__(self) -> Self:
        """The child starts with the first stage, or with `start`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Idle children need no grace; busy ones (we are leaving on a signal) do."""
        self.stop(grace=GRACE_SECONDS if kind is not None else 1.0)


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the training process was killed (out of memory?)"
    if code < 0:
        return f"the training process was ended by signal {-code}"
    return f"the training process ended by itself with exit code {code}"
