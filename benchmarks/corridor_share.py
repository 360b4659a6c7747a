"""How much of a task's time is neither training nor evaluation: one real `lori run`, read off the registry.

    python -m benchmarks.corridor_share

The demo's first two tasks in a fresh home. A task's time goes from the end of the one before it
(for the first: from its first stage) until its version is filed; outside is what remains of it
after calibration, training and evaluation: snapshot, mask, certificate, filing, gate, Prefect.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.results import Result, compared, write_results
from registry.store import open_registry

EXAMPLES = Path(__file__).parents[1] / "examples"
INSIDE = ("calibrate", "train", "evaluate")
TASKS = 2


@dataclass(frozen=True)
class TaskTime:
    """Seconds of one task."""

    task: str
    whole: float
    inside: float


def learn(home: Path) -> None:
    """Run the sequence in a home of its own, through the command."""
    whole = yaml.safe_load((EXAMPLES / "demo.yaml").read_text(encoding="utf-8"))
    tasks = whole["tasks"][:TASKS]
    for task in tasks:
        for role in ("train", "test", "over_refusal"):
            if role in task:
                task[role]["path"] = str(EXAMPLES / task[role]["path"])
    file = home / "share.yaml"
    content = {**whole, "sequence": "share", "base": str(EXAMPLES / "micro"), "tasks": tasks}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    environment = {**os.environ, "LORI_HOME": str(home / "home")}
    command = [sys.executable, "-m", "flows.cli", "run", str(file)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def task_times(home: Path) -> list[TaskTime]:
    """What the registry remembers of it."""
    with open_registry(home / "home") as registry:
        stages = registry.stages("share")
        begun = min(stage.started for stage in stages)
        times = []
        for version in registry.versions("share"):
            assert version.registered is not None
            inside = [
                (stage.finished - stage.started).total_seconds()
                for stage in stages
                if stage.task == version.task and stage.stage in INSIDE and stage.finished
            ]
            whole = (version.registered - begun).total_seconds()
            times.append(TaskTime(version.task, whole, sum(inside)))
            begun = version.registered
    return times


def main() -> list[Result]:
    """Measure, write benchmarks/results/corridor_share.json, return the rows."""
    with tempfile.TemporaryDirectory() as folder:
        learn(Path(folder))
        times = task_times(Path(folder))
    rows = [
        compared(
            f"outside training and evaluation, {time.task}",
            time.whole - time.inside,
            "s",
            peer="the task's whole time",
            peer_value=time.whole,
            spread=f"one run; calibrate, train, evaluate took {time.inside:.1f} s",
        )
        for time in times
    ]
    write_results("corridor_share", rows)
    for row in rows:
        print(f"{row.name}: {row.value:.1f} of {row.peer_value:.1f} s, {100 * row.ratio:.1f} %")
    return rows


if __name__ == "__main__":
    main()
