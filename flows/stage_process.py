"""The training child: one for each run, started through `flows.bound`, fed one stage at a time.

Training has a process of its own so that an out-of-memory kill takes neither the flow nor the
server, and memory is surely free afterwards. The child ignores Ctrl-C (a terminal sends it to
everybody); we end it ourselves: SIGTERM lets it write a checkpoint, SIGKILL follows.
"""

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flows.processes import ProcessIdentity, end, identify
from flows.stage_launch import launch_command, launch_environment
from flows.stage_protocol import (
    SPEC,
    StageCrashed,
    StageProgress,
    line,
    raise_refusal,
    read_result,
)
from lori_core.config import ResourcesConfig
from lori_core.digests import write_json
from registry.home import writable

GRACE_SECONDS = 20.0
"""What a stage gets to write its checkpoint when it is told to leave."""

LEAVE_SECONDS = 6.0
"""What it gets on a worker. A request to cancel is seen within two seconds, and everything is gone ten
after it was made."""

IDLE_SECONDS = 1.0
"""What a child gets that has nothing to do."""


class StageProcess:
    """Runs stages in a child process. Use as a context manager."""

    def __init__(
        self,
        home: Path,
        name: str,
        record: Callable[[ProcessIdentity], None] = lambda process: None,
        *,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """Nothing is started yet.

        Args:
            home: where the log goes.
            name: of the log.
            record: told of every process that will be started.
            grace: seconds a busy child gets for a checkpoint when it is told to leave.
        """
        self.log = home / "logs" / f"stages-{name}.log"
        self._litter = home / "logs" / f"torchrun-{name}"
        self._record = record
        self._grace = grace
        self._needs = ResourcesConfig()
        self._child: subprocess.Popen[bytes] | None = None
        self._identity: ProcessIdentity | None = None

    def start(self, needs: ResourcesConfig | None = None) -> ProcessIdentity:
        """Start the child (from the main thread: see `flows.bound`); it imports while we go on.

        Where several processes are needed, the child is torchrun, and theirs are its children.
        """
        self._needs = needs or ResourcesConfig()
        with writable(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            log = self.log.open("ab")
        with log:
            self._child = subprocess.Popen(
                launch_command(self._needs, self._litter, grace=self._grace),
                env=launch_environment(self._needs),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        self._identity = identify(self._child.pid, "stages")
        self._record(self._identity)
        return self._identity

    def recorded_by(self, record: Callable[[ProcessIdentity], None]) -> None:
        """Tell `record` of the process that was started early, and of every other one."""
        self._record = record
        if self._identity is not None:
            record(self._identity)

    def ready_for(self, needs: ResourcesConfig) -> None:
        """Have the processes a task needs: those that run, or others in their place."""
        self._running(needs)

    def run(
        self,
        stage: str,
        folder: Path,
        spec: Mapping[str, object],
        on_progress: Callable[[StageProgress], None],
        needs: ResourcesConfig | None = None,
    ) -> dict[str, Any]:
        """Run one stage in `folder` and return its result.

        Args:
            stage: its name in `flows.stages.table`.
            folder: where its spec and result lie.
            spec: what it is told.
            on_progress: told how far it is.
            needs: the processes it is for, which are started where others run; None takes those
                that run.

        Raises:
            BadInput, CheckFailed: what the stage said no to.
            StageCrashed: the child failed or was killed.
        """
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / SPEC, spec)
        child = self._running(needs)
        self._send(child, {"stage": stage, "folder": str(folder)})
        assert child.stdout is not None
        for message in map(json.loads, child.stdout):
            if message["event"] == "progress":
                progress = message["done"], message["total"], message["text"]
                on_progress(StageProgress(stage, *progress))
            elif message["event"] == "done":
                return read_result(folder)
            elif message["event"] == "ready":
                for number, pid in enumerate(message["pids"]):
                    self._record(identify(pid, f"training process {number}"))
            elif message["event"] == "refused":
                if self._needs.processes > 1:
                    self.stop(grace=0.0)  # the others may wait for one that said no
                raise_refusal(message)
            elif message["event"] == "failed":
                raise StageCrashed(stage, str(self.log), message["traceback"])
        raise StageCrashed(stage, str(self.log), self._how_it_ended(child))

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
        shutil.rmtree(self._litter, ignore_errors=True)

    def _running(self, needs: ResourcesConfig | None) -> subprocess.Popen[bytes]:
        if self._child is not None and needs is not None and _other(needs, self._needs):
            self.stop(grace=IDLE_SECONDS)
        if self._child is None:
            self.start(needs)
        assert self._child is not None
        return self._child

    def _send(self, child: subprocess.Popen[bytes], message: Mapping[str, object]) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(line(message))
            child.stdin.flush()
        except BrokenPipeError as gone:
            account = self._how_it_ended(child)
            raise StageCrashed(str(message["stage"]), str(self.log), account) from gone

    def _how_it_ended(self, child: subprocess.Popen[bytes]) -> str:
        code = child.wait()
        if self._needs.processes > 1 and code > 0:  # torchrun's: one that fails by itself says so
            return f"one of {self._needs.processes} training processes was killed, or told to leave"
        return _account(code)

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
        self.stop(grace=self._grace if kind is not None else IDLE_SECONDS)


def _other(needs: ResourcesConfig, has: ResourcesConfig) -> bool:
    """Whether processes that were started for one task do not suit another."""
    return needs.processes != has.processes or (needs.processes > 1 and needs.gpus != has.gpus)


def _account(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the training process was killed (out of memory?)"
    if code < 0:
        return f"the training process was ended by signal {-code}"
    return f"the training process ended by itself with exit code {code}"
