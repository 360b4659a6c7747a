"""kill -9 at each of the six steps, against a real MLflow server; after the doctor and a re-run, one of each.

Acceptance 2. Half of the kills fall after a step is recorded, half between the deed and its record.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar, get_args

from registry import doctor
from registry.artifacts import Filing, Upload
from registry.records import VersionState
from registry.store import open_registry
from tests.registry.servers import LyingProxy
from tests.registry.soak_cases import assert_whole, declare, file

STEPS: tuple[VersionState, ...] = get_args(VersionState)
SEQUENCE = "killed"

P = ParamSpec("P")
T = TypeVar("T")


def survive_kills(folder: Path, kills: int, proxy: LyingProxy | None = None) -> str:
    """Kill a filing process `kills` times at each step, in the stores that the environment names.

    Returns what was measured, in a sentence.
    """
    home = folder / ".lori"
    plan = [(step, bool(number % 2)) for number in range(kills) for step in STEPS]
    with open_registry(home) as registry:
        declare(registry, SEQUENCE, len(plan))
    for version, (step, unrecorded) in enumerate(plan, start=1):
        if proxy is not None:
            proxy.again.set()
        _killed(home, folder, version, step, unrecorded)
        with open_registry(home) as registry:
            left = doctor.repair(registry, doctor.examine(registry))
            assert all(each.mended or each.what == "half-registered" for each in left), left
            file(registry, folder, SEQUENCE, version)
        assert_whole(home, SEQUENCE, version)
    lies = "" if proxy is None else f"; {len(proxy.lied)} creates answered 503 after the commit"
    return f"{len(plan)} kills, {kills} at each step: no duplicate, no orphan, every digest right{lies}"


def _killed(home: Path, work: Path, version: int, step: VersionState, unrecorded: bool) -> None:
    command = [sys.executable, "-m", "tests.registry.soak_kills", "--home", str(home)]
    command += ["--work", str(work), "--version", str(version), "--step", step]
    child = subprocess.run(
        [*command, *(["--unrecorded"] if unrecorded else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr[-3000:]


def victim(home: Path, work: Path, version: int, step: VersionState, unrecorded: bool) -> None:
    """File a version and die at a step: once it is recorded, or before, when only the deed is done."""
    with open_registry(home) as registry:
        if not unrecorded or step == "reserved":
            file(registry, work, SEQUENCE, version, last=step)
            return
        from registry.mlflow_artifacts import MlflowArtifacts

        def _dead(at: VersionState, deed: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
            done = deed(*given, **named)
            if at == step:
                _die()
            return done

        class Dies(MlflowArtifacts):
            """Does what it is asked, and nobody hears of it."""

            def start_run(self, filing: Filing) -> str:
                return _dead("started", super().start_run, filing)

            def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
                if step == "verified":  # amid the upload: verifying makes nothing
                    send = self._client.log_model_artifacts

                    def send_or_die(model_id: str, sent: str, path: str | None = None) -> None:
                        _die() if path is not None else send(model_id, sent)

                    self._client.log_model_artifacts = send_or_die
                return _dead("uploaded", super().upload, filing, run_id, folder)

            def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
                return _dead("versioned", super().create_version, filing, run_id, model_id)

            def finish_run(self, filing: Filing, run_id: str, metrics: Mapping[str, float]) -> None:
                _dead("registered", super().finish_run, filing, run_id, metrics)

        with open_registry(home, artifacts=Dies(registry.settings)) as doomed:
            file(doomed, work, SEQUENCE, version)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--unrecorded", action="store_true")
    given = parser.parse_args()
    victim(given.home, given.work, given.version, given.step, given.unrecorded)
