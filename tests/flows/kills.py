"""Kill `lori run` at random moments, run it again, and compare what it left with an undisturbed run.

As a test: three kills (`test_kills.py`). For longer: `python -m tests.flows.kills --kills 10`.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.flows.tiny import write_sequence

TASKS = ("color", "size", "animal")
MORE = "guards: [color]"
LORI = [sys.executable, "-m", "flows.cli"]
START_SECONDS = 8.0
"""A run takes that long or longer before its first stage is finished: most of it is starting up."""

STAGE_SECONDS = 1.0
"""About what a stage takes, or the start of a run that goes on."""


@dataclass(frozen=True)
class Outcome:
    """What a finished sequence is, without anything that may differ between two runs."""

    versions: list[dict[str, object]]
    matrices: list[dict[str, object]]
    finished: dict[str, int]
    """Stage key -> how often it was finished."""


def lori(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*LORI, *arguments], env=environment(home), capture_output=True, text=True, check=False
    )


def environment(home: Path) -> dict[str, str]:
    """Ours, with a home of its own."""
    return {**os.environ, "LORI_HOME": str(home), "PYTHONPATH": str(Path.cwd())}


def json_of(home: Path, *arguments: str) -> list[dict[str, object]] | dict[str, object]:
    """What a reading command prints with --json."""
    answer = lori(home, *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    found: list[dict[str, object]] | dict[str, object] = json.loads(answer.stdout)
    return found


def run_to_the_end(file: Path, home: Path) -> None:
    """Learn the sequence, or what is left of it, undisturbed."""
    answer = lori(home, "run", str(file))
    assert answer.returncode == 0, answer.stderr


def killed_run(file: Path, home: Path, stages: int, delay: float) -> bool:
    """Start the run, kill -9 it some seconds after so many stages were finished.

    Returns False if it ended before. Nothing it started may outlive it by more than a moment.
    """
    process = subprocess.Popen(
        [*LORI, "run", str(file)],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and finished_stages(home) < stages:
        time.sleep(0.02)
    try:
        process.wait(timeout=delay)
        return False
    except subprocess.TimeoutExpired:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, f"still running after the kill: {[each.cmdline() for each in alive]}"
    return True


def finished_stages(home: Path) -> int:
    """How many stages left their result."""
    return len(list(home.glob("stages/*/result.json")))


def outcome(home: Path, sequence: str = "tiny") -> Outcome:
    """Adapters, masks, certificates and R of both reads; and how often each stage finished."""
    listed = json_of(home, "versions", sequence)
    assert isinstance(listed, list)
    versions = [
        {key: value for key, value in version.items() if key != "gate"}  # which has its own time
        for version in listed
    ]
    matrices = [
        json_of(home, "matrix", sequence, "--read", read) for read in ("inherited", "cumulative")
    ]
    from registry.store import open_registry

    with open_registry(home) as registry:
        stages = registry.stages(sequence)
    finished: dict[str, int] = {}
    for stage in stages:
        if stage.state == "finished":
            finished[stage.key] = finished.get(stage.key, 0) + 1
    return Outcome(versions, [m for m in matrices if isinstance(m, dict)], finished)


def survive(folder: Path, undisturbed: Path, kills: int, seed: int) -> int:
    """Learn with kills what a home has learned without; both must end in the same bits.

    A kill that came after the end killed nothing: the rest of them fall on the next home.

    Returns how many homes it took until that many kills had found something to kill.
    """
    file = write_sequence(folder, TASKS, more=MORE)
    moments = random.Random(seed)
    total = finished_stages(undisturbed)
    calm = outcome(undisturbed)
    landed = homes = 0
    while landed < kills:
        assert homes < kills, f"{landed} of {kills} kills found something to kill in {homes} homes"
        homes += 1
        home = folder / f"killed-{homes}"
        for stages in sorted(moments.randrange(total) for _ in range(kills - landed)):
            delay = moments.uniform(0.0, START_SECONDS if stages == 0 else STAGE_SECONDS)
            if not killed_run(file, home, stages, delay):
                break
            landed += 1
        run_to_the_end(file, home)
        rough = outcome(home)
        assert rough.versions == calm.versions, "adapters or masks differ"
        assert rough.matrices == calm.matrices, "R differs"
        assert set(rough.finished.values()) == {1}, "a finished stage was repeated"
        assert rough.finished == calm.finished, "stages differ"
    return homes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calm = Path(folder) / "calm"
        calm.mkdir()
        run_to_the_end(write_sequence(calm, TASKS, more=MORE), calm / "home")
        homes = survive(Path(folder), calm / "home", given.kills, given.seed)
    sys.stdout.write(
        f"{given.kills} kills of {given.kills} landed, in {homes} homes; every bit as undisturbed\n"
    )


if __name__ == "__main__":
    main()
