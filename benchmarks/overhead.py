"""What learning costs beside training and evaluation, and what `lori up` costs when nothing is learned.

    python -m benchmarks.overhead

The demo's first three tasks with few rows, once by `lori run` in a fresh home (its cold start apart),
once by `lori submit` under `lori up`. Outside is everything but calibration, training and evaluation;
it is given by component. Then each process of `lori up` at rest for a minute.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import yaml

from benchmarks.corridor_share import EXAMPLES, INSIDE
from benchmarks.results import Result, compared, write_results
from registry.arrivals import Arrivals
from registry.known_services import FILE
from registry.store import Registry, open_registry

SEQUENCE, TASKS = "overhead", 3
ROWS: Mapping[str, int] = {"train": 160, "test": 40, "over_refusal": 40}
EMBEDDED_AT_MOST, WORKER_AT_MOST, HEALTHY_AT_MOST = 20.0, 35.0, 60.0
IDLE_SECONDS = 60.0
PATIENCE = 1800.0
LOWERED = (
    "Prefect without heartbeats of its own (a second a flow), one training child for a sequence,"
    " digests of the base remembered, runs polled every 2 s; servers with two arenas and one thread,"
    " MLflow in one process without jobs, Prefect's tidying services less often; a worker's process that"
    " goes on with the next task of its sequence, its child started before Prefect is imported and MLflow"
    " imported while it trains; our own store asked every second"
)


@dataclass(frozen=True)
class Spent:
    """Seconds of one sequence, by component; what is inside is not in it."""

    start: float
    """Before the first stage of the first task."""

    components: Mapping[str, float]

    inside: float

    @property
    def outside(self) -> float:
        """All components together."""
        return sum(self.components.values())


def write_file(folder: Path) -> Path:
    """The sequence with few rows."""
    whole = yaml.safe_load((EXAMPLES / "demo.yaml").read_text(encoding="utf-8"))
    tasks = whole["tasks"][:TASKS]
    for task in tasks:
        for role, count in ROWS.items():
            if role in task:
                lines = (EXAMPLES / task[role]["path"]).read_text(encoding="utf-8").splitlines()
                place = folder / f"{task['name']}-{role}.jsonl"
                place.write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")
                task[role]["path"] = str(place)
    file = folder / f"{SEQUENCE}.yaml"
    content = {**whole, "sequence": SEQUENCE, "base": str(EXAMPLES / "micro"), "tasks": tasks}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def environment(home: Path) -> dict[str, str]:
    """Ours, with this home and no server of anybody's."""
    named = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "LORI_REGISTRY_URL")
    ours = {name: value for name, value in os.environ.items() if name not in named}
    return {**ours, "LORI_HOME": str(home)}


def lori(home: Path, *arguments: str) -> None:
    """Run a command, silently."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    subprocess.run(command, env=environment(home), check=True, capture_output=True)


def stage_seconds(registry: Registry, task: str) -> Counter[str]:
    """Seconds of each stage of a task."""
    spent: Counter[str] = Counter()
    for stage in registry.stages(SEQUENCE):
        if stage.task == task and stage.finished is not None:
            spent[stage.stage] += (stage.finished - stage.started).total_seconds()
    return spent


def split(stages: Counter[str], whole: float) -> tuple[Counter[str], float]:
    """What a task spent outside, by component, and inside."""
    inside = sum(stages[name] for name in INSIDE)
    outside = Counter({name: each for name, each in stages.items() if name not in INSIDE})
    outside["filing, gate, and between the stages"] = whole - sum(stages.values())
    return outside, inside


def embedded(home: Path, file: Path) -> Spent:
    """`lori run`: from the first stage to the end of the process; what comes before is its start."""
    began = datetime.now(UTC)
    lori(home, "run", str(file))
    ended = datetime.now(UTC)
    components: Counter[str] = Counter()
    inside = 0.0
    with open_registry(home) as registry:
        first = min(stage.started for stage in registry.stages(SEQUENCE))
        since = first
        for version in registry.versions(SEQUENCE):
            assert version.registered is not None
            whole = (version.registered - since).total_seconds()
            outside, within = split(stage_seconds(registry, version.task), whole)
            components += outside
            inside += within
            since = version.registered
    components["gate and leaving, at the end"] = (ended - since).total_seconds()
    return Spent((first - began).total_seconds(), components, inside)


def by_worker(home: Path, file: Path) -> Spent:
    """`lori submit` under `lori up`: from the submission, or the end of the one before."""
    lori(home, "submit", str(file))
    with open_registry(home) as registry:
        arrivals = Arrivals(registry)
        deadline = time.monotonic() + PATIENCE
        while {each.state for each in arrivals.arrivals(SEQUENCE)} != {"learned"}:
            if time.monotonic() > deadline:
                raise TimeoutError("the submitted tasks were not learned")
            time.sleep(0.5)
        components: Counter[str] = Counter()
        inside = 0.0
        since: datetime | None = None
        for arrival in sorted(arrivals.arrivals(SEQUENCE), key=lambda each: each.id):
            assert arrival.dispatched is not None
            assert arrival.started is not None
            assert arrival.finished is not None
            stages = stage_seconds(registry, arrival.task)
            first = min(s.started for s in registry.stages(SEQUENCE) if s.task == arrival.task)
            waited = arrival.dispatched - (since or arrival.created)
            components["waiting for the dispatcher's look"] += waited.total_seconds()
            began = arrival.started - arrival.dispatched
            components["from dispatch to the flow's process"] += began.total_seconds()
            components["opening, and looking at the base"] += (
                first - arrival.started
            ).total_seconds()
            whole = (arrival.finished - first).total_seconds()
            outside, within = split(stages, whole)
            components += outside
            inside += within
            since = arrival.finished
    return Spent(0.0, components, inside)


@contextmanager
def lori_up(home: Path, log: Path) -> Iterator[tuple[float, int]]:
    """`lori up`, healthy: how long that took, and its pid."""
    began = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "up", "--port-base", "0"]
    with log.open("w") as said:
        up = subprocess.Popen(
            command, env=environment(home), stdout=subprocess.DEVNULL, stderr=said
        )
    try:
        while "all healthy" not in log.read_text():
            if up.poll() is not None or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"lori up is not healthy: {log.read_text()}")
            time.sleep(0.1)
        yield time.monotonic() - began, up.pid
    finally:
        up.send_signal(signal.SIGINT)
        up.wait()


def idle(home: Path, supervisor: int) -> list[Result]:
    """Memory of each process, and the share of a core it takes while nothing is learned."""
    services = json.loads((home / FILE).read_text(encoding="utf-8"))["services"]
    pids = {"supervisor": supervisor}
    pids |= {name: each["process"]["pid"] for name, each in services.items()}
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: sum(each.cpu_times()[:2]) for name, each in processes.items()}
    time.sleep(IDLE_SECONDS)
    rows, all_memory, all_share = [], 0.0, 0.0
    for name, process in processes.items():
        share = 100 * (sum(process.cpu_times()[:2]) - before[name]) / IDLE_SECONDS
        memory = process.memory_full_info()
        all_memory, all_share = all_memory + memory.uss, all_share + share
        rows.append(_idle_row(name, memory.uss, share, f"resident {_mib(memory.rss):.0f} MiB"))
    return [*rows, _idle_row("all of them", all_memory, all_share, f"{len(pids)} processes")]


def _idle_row(name: str, memory: float, share: float, more: str) -> Result:
    return compared(
        f"idle, {name}: memory of its own",
        _mib(memory),
        "MiB",
        peer="% of one core",
        peer_value=share,
        spread=f"{share:.2f} % of one core over {IDLE_SECONDS:.0f} s; {more}",
    )


def _mib(size: float) -> float:
    return size / 2**20


def rows_of(how: str, spent: Spent, at_most: float) -> list[Result]:
    """The sum beside its limit, then each component."""
    whole = compared(
        f"{how}: outside training and evaluation, {TASKS} tasks",
        spent.outside,
        "s",
        peer="at most",
        peer_value=at_most,
        spread=f"one run; inside {spent.inside:.1f} s; {spent.outside / TASKS:.1f} s a task",
    )
    parts = [
        compared(
            f"{how}: {name}",
            seconds,
            "s",
            peer="all that is outside",
            peer_value=spent.outside,
            spread=f"{TASKS} tasks together",
        )
        for name, seconds in sorted(spent.components.items(), key=lambda each: -each[1])
    ]
    return [whole, *parts]


def main() -> list[Result]:
    """Measure, write benchmarks/results/overhead.json, return the rows."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = write_file(folder)
        run = embedded(folder / "embedded", file)
        rows = rows_of("lori run", run, EMBEDDED_AT_MOST)
        rows.append(
            compared(
                "lori run: cold start in a fresh home",
                run.start,
                "s",
                peer="outside training and evaluation",
                peer_value=run.outside,
                spread="one run; not counted above",
            )
        )
        with lori_up(folder / "up", folder / "up.log") as (seconds, pid):
            rows.append(
                compared(
                    "lori up: healthy in a fresh home",
                    seconds,
                    "s",
                    peer="at most",
                    peer_value=HEALTHY_AT_MOST,
                    spread="one start",
                )
            )
            resting = idle(folder / "up", pid)
            rows += rows_of("through a worker", by_worker(folder / "up", file), WORKER_AT_MOST)
            rows += resting
    write_results("overhead", rows)
    for row in rows:
        print(
            f"{row.name}: {row.value:.1f} {row.unit} ({row.peer} {row.peer_value:.1f}; {row.spread})"
        )
    print(f"lowered by: {LOWERED}")
    return rows


if __name__ == "__main__":
    main()
