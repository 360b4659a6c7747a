"""Order and exclusion under kills: many arrivals, many sequences, several workers, a stand-in for training.

    python -m tests.flows.orchestrator_soak --arrivals 200 --sequences 10 --workers 4 --kills 5

Workers, Prefect's server and PostgreSQL (which holds our rows) are killed (-9) and restarted in a
random order while the arrivals are learned. The size that passed becomes a line of
`docs/soak.md`; `test_dispatch.py` runs a small one.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.arrivals import Arrivals
from registry.settings import switch_telemetry_off
from registry.store import Registry, open_registry
from tests.flows.crew import Crew, Member, a_crew, wait_until
from tests.flows.stand_in import Seen, seen, send
from tests.project.whole_postgresql import installed
from tests.project.whole_postgresql import server as whole_postgresql
from tests.registry.servers import PostgreSQL, postgresql
from tests.registry.soak import LOG, log_part, stores

VICTIMS = ("worker", "prefect", "postgresql")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of one run."""

    arrivals: int
    sequences: int
    workers: int
    kills: int
    """Of each: worker, Prefect's server, PostgreSQL."""
    seed: int = 0


@dataclass
class Stage:
    """Everything that runs."""

    crew: Crew
    server: PostgreSQL
    workers: list[Member]
    moments: random.Random

    def kill(self, victim: str) -> None:
        """kill -9 and start again after a moment."""
        down = self.moments.uniform(0.2, 3.0)
        if victim == "postgresql":
            self.server.kill(down)
        elif victim == "prefect":
            self.crew.prefect.kill()
            time.sleep(down)
            self.crew.start_prefect()
        else:
            worker = self.moments.choice(self.workers)
            family = worker.kill()
            wait_until(lambda: not any(each.is_running() for each in family), 5)
            time.sleep(down)
            worker.start()


def survive(folder: Path, size: Size) -> str:
    """Learn all arrivals under kills, and check that each was learned once, in order, alone.

    Returns what was measured, in a line.
    """
    names = [f"sequence-{number}" for number in range(size.sequences)]
    began = time.monotonic()
    with _stage(folder, size) as stage, open_registry(stage.crew.home) as registry:
        sent = [send(registry, names[n % len(names)], n).id for n in range(size.arrivals)]
        victims = [victim for victim in VICTIMS for _ in range(size.kills)]
        stage.moments.shuffle(victims)
        for turn, victim in enumerate(victims, start=1):
            share = len(sent) * turn // (len(victims) + 1)
            _until_learned(stage.crew, registry, share)
            time.sleep(stage.moments.uniform(0.0, 2.0))
            stage.kill(victim)
        _until_learned(stage.crew, registry, len(sent))
        seconds = time.monotonic() - began
        attempts = sum(_check(stage.crew, registry, name) for name in names)
        left = [worker.stop(within=60) for worker in stage.workers]
    return (
        f"{len(sent)} learned in order, none twice, in {seconds:.0f} s"
        f" ({seconds / len(sent):.2f} s each); {attempts - len(sent)} attempts more than needed;"
        f" workers left within {max(left):.1f} s"
    )


@contextmanager
def _stage(folder: Path, size: Size) -> Iterator[Stage]:
    with postgresql(folder / "server") as server:
        ours = server.database()
        more = {"LORI_REGISTRY_URL": ours, "STAND_IN_LIMIT": "1"}
        with (
            _database_of_prefect(folder / "theirs") as theirs,
            stores(LORI_REGISTRY_URL=ours),
            a_crew(folder, more={**more, **theirs}) as crew,
        ):
            with crew.registry():
                pass  # makes the tables before everybody wants to
            workers = [crew.worker(f"worker-{number}") for number in range(size.workers)]
            yield Stage(crew, server, workers, random.Random(size.seed))


@contextmanager
def _database_of_prefect(folder: Path) -> Iterator[dict[str, str]]:
    """Prefect's own PostgreSQL, where one with its extensions is installed; else its SQLite file.

    With several workers its server answers "database is locked" on SQLite: slow, though never wrong.
    """
    if installed() is None:
        yield {}
        return
    with whole_postgresql(folder) as server:
        url = f"postgresql+asyncpg://postgres@/postgres?host={server.data}"
        yield {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url}


def _until_learned(crew: Crew, registry: Registry, count: int) -> None:
    """Wait until so many are learned; something has to be learned every five minutes."""
    reached = -1
    while reached < count:
        before = reached

        def further(before: int = before) -> bool:
            assert not Arrivals(registry).blocked(), crew.said()  # nothing here may fail for good
            return _learned(registry) > before

        wait_until(further, 300, crew.said)
        reached = _learned(registry)


def _learned(registry: Registry) -> int:
    return len(Arrivals(registry).arrivals(states=["learned"]))


def _check(crew: Crew, registry: Registry, name: str) -> int:
    """One sequence: every arrival learned once, in order, alone. How many attempts began comes back."""
    arrivals = Arrivals(registry).arrivals(name)
    ids = [each.id for each in arrivals]
    assert [each.state for each in arrivals] == ["learned"] * len(ids), crew.said()
    assert [each.version for each in arrivals] == list(range(1, len(ids) + 1))
    found: Seen = seen(crew.home, name)
    assert found.overlaps == 0, f"{name}: two at once"
    assert _without_repeats(found.begun) == ids, f"{name}: begun as {found.begun}"
    assert _without_repeats(found.ended) == ids, f"{name}: ended as {found.ended}"
    finished = [each.key for each in registry.stages(name) if each.state == "finished"]
    assert sorted(set(finished)) == sorted(f"stand-in-{each}" for each in ids)
    return len(found.begun)


def _without_repeats(numbers: Sequence[int]) -> list[int]:
    """An attempt that was killed is followed by another at the same arrival."""
    return [each for place, each in enumerate(numbers) if place == 0 or numbers[place - 1] != each]


def main() -> None:
    switch_telemetry_off()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrivals", type=int, default=200)
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=LOG)
    given = parser.parse_args()
    size = Size(
        arrivals=given.arrivals,
        sequences=given.sequences,
        workers=given.workers,
        kills=given.kills,
        seed=given.seed,
    )
    shown = (
        f"arrivals {size.arrivals}, sequences {size.sequences}, workers {size.workers},"
        f" kills of each {size.kills}"
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lori-soak-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's user reads it
        measured = survive(Path(folder), size)
    log_part("orchestrator", shown, time.monotonic() - began, measured, given.log)


if __name__ == "__main__":
    main()
