"""What 50 readers cost, and a training beside them: `python -m benchmarks.dashboard_load`

Each reader asks for a page every 30 s for two minutes, of a registry of 100 tasks in three read modes and
then of one of 1,000 versions. A training of the same kind as `step_cost`'s LoRI-S takes both cores all the
while; its steps before and after, with nobody reading, are what it is compared with.
"""

import argparse
import math
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.dashboard_speed import NAMES, PAGES
from benchmarks.grown_dashboard import SIZES, grow
from benchmarks.results import Result, compared, write_results
from registry.settings import switch_telemetry_off
from tests.dashboard.browser.sites import Site, served

READERS, EVERY, LASTING, ALONE = 50, 30.0, 120.0, 45.0
P95_AT_MOST, CPU_AT_MOST = 500.0, 60.0
ROOT = Path(__file__).parents[1]


@dataclass
class Read:
    """What the readers met."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def train() -> None:
    """Step until somebody ends this; each step's begin and end on stdout, in the machine's seconds."""
    from benchmarks.step_cost import lori
    from lori_core.config import AdapterConfig

    variant = lori(AdapterConfig(r=32, lora_alpha=64), 0.9)
    while True:
        began = time.monotonic()
        variant.step()
        print(began, time.monotonic(), flush=True)


@dataclass
class Training:
    """A training in a process of its own, and the steps it has done."""

    steps: list[tuple[float, float]] = field(default_factory=list)

    def seconds_a_step(self, *spans: tuple[float, float]) -> float:
        """The mean of the steps that lie in these spans of time."""
        found = [
            end - begin
            for begin, end in self.steps
            if any(first <= begin and end <= last for first, last in spans)
        ]
        return statistics.mean(found)


@contextmanager
def a_training() -> Iterator[Training]:
    """A training that is under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.dashboard_load", "--train"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    training = Training()
    assert process.stdout is not None
    said = process.stdout

    def listen() -> None:
        for line in said:
            begin, _, end = line.partition(" ")
            training.steps.append((float(begin), float(end)))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        while len(training.steps) < 3:
            if process.poll() is not None:
                raise RuntimeError("the training ended")
            time.sleep(0.1)
        yield training
    finally:
        process.kill()
        process.wait()
        listener.join()


def reader(site: Site, number: int, paths: Sequence[str], until: float, read: Read) -> None:
    """Ask for a page every so often, first within the first interval."""
    draw = random.Random(number)
    due = time.monotonic() + draw.uniform(0, EVERY)
    with httpx.Client(base_url=site.url, timeout=60) as client:
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            path, began = draw.choice(paths), time.monotonic()
            try:
                answer = client.get(path)
            except httpx.HTTPError as error:
                read.errors.append(f"{path}: {error!r}")
            else:
                read.seconds.append(time.monotonic() - began)
                if answer.status_code != 200:
                    read.errors.append(f"{path}: {answer.status_code}")
            due += EVERY


def under_load(site: Site, paths: Sequence[str], lasting: float) -> Read:
    """All readers at once."""
    read, until = Read(), time.monotonic() + lasting
    threads = [
        threading.Thread(target=reader, args=(site, number, paths, until, read))
        for number in range(READERS)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return read


def measure(what: str, home: Path, lasting: float, alone: float) -> list[Result]:
    """One registry."""
    paths = tuple(PAGES[what].values())
    with served(home) as site:
        for path in paths:
            httpx.get(site.url + path, timeout=60).raise_for_status()
        server = psutil.Process(site.pid)
        with a_training() as training:
            began = time.monotonic()
            time.sleep(alone)
            before = sum(server.cpu_times()[:2])
            first = time.monotonic()
            read = under_load(site, paths, lasting)
            last = time.monotonic()
            worked = sum(server.cpu_times()[:2]) - before
            time.sleep(alone)
            ended = time.monotonic()
            beside = training.seconds_a_step((first, last))
            by_itself = training.seconds_a_step((began, first), (last, ended))
    name = f"{NAMES[what]}, {READERS} readers"
    times = sorted(1000 * each for each in read.seconds)
    for error in read.errors[:5]:
        print(error)
    return [
        compared(
            f"{name}: errors", len(read.errors), "pages", peer="pages asked for",
            peer_value=len(times), spread=f"a page every {EVERY:.0f} s each, {lasting:.0f} s",
        ),
        compared(
            f"{name}: 95th percentile of a page", times[math.ceil(0.95 * len(times)) - 1], "ms",
            peer=f"at most {P95_AT_MOST:.0f} ms", peer_value=P95_AT_MOST,
            spread=f"median {statistics.median(times):.0f} ms, longest {times[-1]:.0f} ms;"
            " both cores train meanwhile",
        ),
        compared(
            f"{name}: CPU a page", 1000 * worked / len(times), "ms",
            peer=f"at most {CPU_AT_MOST:.0f} ms", peer_value=CPU_AT_MOST,
            spread=f"of the server's process, {len(times)} pages",
        ),
        compared(
            f"{name}: a training step beside them", 1000 * beside, "ms",
            peer="the same training alone", peer_value=1000 * by_itself,
            spread=f"{100 * (beside / by_itself - 1):+.1f} %; alone {2 * alone:.0f} s",
        ),
    ]  # fmt: skip


def main() -> list[Result]:
    """Measure, write benchmarks/results/dashboard_load.json, return the rows."""
    switch_telemetry_off()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="be the training")
    parser.add_argument("--lasting", type=float, default=LASTING)
    parser.add_argument("--alone", type=float, default=ALONE)
    parser.add_argument("--what", nargs="*", default=list(SIZES))
    parser.add_argument("--dry", action="store_true", help="print, and write no results")
    given = parser.parse_args()
    if given.train:
        train()
    rows: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="lori-load-") as folder:
        for what in given.what:
            home = Path(folder) / what / "home"
            grow(home, Path(folder) / what / "files", SIZES[what])
            rows += measure(what, home, given.lasting, given.alone)
    if not given.dry:
        write_results("dashboard_load", rows)
    for row in rows:
        print(
            f"{row.name:60} {row.value:8.1f} {row.unit} ({row.peer} {row.peer_value:.1f}; {row.spread})"
        )
    return rows


if __name__ == "__main__":
    main()
