"""Does the registry stay as fast as it was young? `python -m benchmarks.registry_growth`

A registry is seeded in bulk with sound versions (`benchmarks.grown_registry` says what of it is
real), then real operations are timed at each size, on the real stores: register the next version,
find by digest, ask for the champion, gate, promote, read a page of the history. MLflow's store is
asked directly, without a server.

`promote` is all that `lori promote` does in the registry, nothing is replaced: lock, gate (every rule,
predictions compared row by row, soundness of the version and of all before it), compare-and-swap,
report, rows, MLflow's alias set and read back, log, anchors, outbox. It promotes the newest
version, each time after a rollback to the one before, which is not timed: the gate lets no version pass
that lacks a task that serves, so that it cannot go back and forth by promotions alone. As in a home where each
version was judged when it came, soundness has looked at the earlier ones before; what the very first
gate of a home costs is a figure of its own.

Sizes take turns, operation by operation. Figures are wall medians. The spread tells CPU of this process beside them, which other work on the
machine disturbs less; a database server's own CPU is not in it.
"""

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.grown_registry import Size, adapter_digest, file, name_of, record_of, seed
from benchmarks.results import Result, compared, write_results
from registry.decisions import Actor
from registry.desk import Desk
from registry.settings import switch_telemetry_off
from registry.store import Registry, open_registry
from registry.untouched import SETTLED_NS
from tests.registry.servers import mlflow_url, postgresql
from tests.registry.soak import stores

OPERATIONS = 200
SIZES = (Size(1, 10), Size(1, 100), Size(1, 1000), Size(1000, 40))


@dataclass(frozen=True)
class Taken:
    """Seconds of each time an operation was done."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def __str__(self) -> str:
        wall, cpu = (sorted(1000 * each for each in all_) for all_ in (self.wall, self.cpu))
        p95 = wall[math.ceil(0.95 * len(wall)) - 1]
        return (
            f"wall median {statistics.median(wall):.2f} ms, p95 {p95:.2f} ms;"
            f" CPU median {statistics.median(cpu):.2f} ms; {len(wall)} times"
        )


@dataclass(frozen=True)
class Operation:
    """What is timed; called with 0, 1, 2, ... it does the next real one."""

    work: Callable[[int], object]
    ready: Callable[[int], object] = lambda _: None
    """What has to be so before it, which is not timed."""


def operations(
    registry: Registry, work: Path, size: Size, count: int, registers: int
) -> Iterator[tuple[str, int, Operation]]:
    """Each operation by name, and how often."""
    desk = Desk(registry, Actor(name="bench", role="admin", account=False))
    draw = random.Random(0)
    chosen = min(size.sequences, max(1, count // 2))  # each is promoted twice, where many are
    decided = [name_of(each) for each in draw.sample(range(size.sequences), chosen)]

    def find(_: int) -> object:
        digest = adapter_digest(
            name_of(draw.randrange(size.sequences)), draw.randint(1, size.versions)
        )
        (found,) = registry.versions_with(digest)
        return found

    def go_back(turn: int) -> None:
        name = decided[turn % len(decided)]
        desk.rollback(name, reason="for the next turn", to_version=size.versions - 1)

    def promote(turn: int) -> object:
        name = decided[turn % len(decided)]
        made = desk.promote(name, size.versions, reason=f"turn {turn}")
        assert made.status == "applied"
        return made

    def gate(turn: int) -> object:
        report = desk.gate(decided[turn % len(decided)], size.versions)
        assert report.ok, [rule.why for rule in report.rules if not rule.ok][:3]
        return report

    yield "first gate", len(decided), Operation(gate)
    yield "find by digest", count, Operation(find)
    yield "current champion", count, Operation(lambda _: desk.champion(draw.choice(decided)))
    history = Operation(lambda _: desk.history(draw.choice(decided), last=20))
    yield "history page", count, history
    yield "gate", count, Operation(gate)
    yield "promote", count, Operation(promote, ready=go_back)
    fresh = [record_of(name_of(0), size.versions + 1 + turn) for turn in range(registers)]
    yield "register", registers, Operation(lambda turn: file(registry, work, fresh[turn]))


def measure(
    stack: ExitStack, kind: str, sizes: Sequence[Size], count: int, registers: int
) -> dict[Size, dict[str, Taken]]:
    """Seconds of each operation at each size, in one kind of store.

    Every size is seeded first and then takes turns with the others, so that what else the machine
    does meets them all alike.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lori-growth-")))
    folder.chmod(0o755)
    urls: Callable[[], dict[str, str]] = dict
    if kind == "postgresql":
        server = stack.enter_context(postgresql(folder / "server"))

        def urls() -> dict[str, str]:
            ours, theirs = server.database(), mlflow_url(server.database())
            return {"LORI_REGISTRY_URL": ours, "MLFLOW_TRACKING_URI": theirs}

    todo = {}
    for size in sizes:
        work = folder / f"{size.sequences}-{size.versions}"
        with stores(**urls()):
            registry = stack.enter_context(open_registry(work / ".lori"))
        began = time.perf_counter()
        seed(registry, work, size, registers)
        print(f"{kind} {size}: seeded in {time.perf_counter() - began:.0f} s", flush=True)
        todo[size] = operations(registry, work, size, count, registers)
    time.sleep(SETTLED_NS / 1e9 + 0.5)  # files as young as this are never trusted
    taken: dict[Size, dict[str, Taken]] = {size: {} for size in sizes}
    for together in zip(*todo.values(), strict=True):
        asked = dict(zip(todo, together, strict=True))
        seconds: dict[Size, list[tuple[float, float]]] = {size: [] for size in sizes}
        for turn in range(max(times for _, times, _ in together)):
            for size, (_, times, operation) in asked.items():
                if turn < times:
                    operation.ready(turn)
                    began, worked = time.perf_counter(), time.process_time()
                    operation.work(turn)
                    ended = time.perf_counter() - began, time.process_time() - worked
                    seconds[size].append(ended)
        for size, (name, _, _) in asked.items():
            if seconds[size]:
                taken[size][name] = Taken(*zip(*seconds[size], strict=True))
                print(f"{kind} {size}: {name}: {taken[size][name]}", flush=True)
    return taken


def results(
    kind: str, taken: Mapping[Size, Mapping[str, Taken]], sizes: Sequence[Size]
) -> list[Result]:
    """Each figure beside that of the smallest size."""
    smallest = sizes[0]
    made = []
    for size in sizes:
        for name, each in taken[size].items():
            least = taken[smallest].get(name, each)
            times = statistics.median(each.cpu) / statistics.median(least.cpu)
            made.append(
                compared(
                    f"{name}, {kind}, {size} versions",
                    1000 * statistics.median(each.wall),
                    "ms",
                    peer=f"{smallest} versions",
                    peer_value=1000 * statistics.median(least.wall),
                    spread=f"{each}; CPU {times:.2f} times",
                )
            )
    return made


def main() -> None:
    """Measure both stores at every size."""
    switch_telemetry_off()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument(
        "--registers", type=int, help="how many versions are registered, if not as many"
    )
    parser.add_argument(
        "--sizes", type=json.loads, default=[[s.sequences, s.versions] for s in SIZES]
    )
    parser.add_argument("--stores", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--dry", action="store_true", help="print, and write no results")
    given = parser.parse_args()
    sizes = [Size(*size) for size in given.sizes]
    registers = given.operations if given.registers is None else given.registers
    made: list[Result] = []
    for kind in given.stores:
        with ExitStack() as stack:
            taken = measure(stack, kind, sizes, given.operations, registers)
        made += results(kind, taken, sizes)
        if not given.dry:
            print(write_results("registry_growth", made))
    for each in made:
        print(
            f"{each.name}: {each.value:.2f} ms, {each.ratio:.2f} times {each.peer}; {each.spread}"
        )


if __name__ == "__main__":
    main()
