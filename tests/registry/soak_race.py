"""Promotions at once, by real processes on a real MLflow store: one is applied, no reader misses the alias.

Acceptance 3. Every contender expects the same champion; readers ask MLflow for it all the while.
"""

import sys
from collections import Counter
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import TYPE_CHECKING

from lori_core.errors import CheckFailed
from registry.desk import Desk
from registry.settings import find_settings, switch_telemetry_off
from registry.store import open_registry
from tests.forked import Fork, tell

sys.path.insert(0, str(Path(__file__).parent))  # the cases import each other as the tests do

from decision_cases import ANN, learn

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

MODEL = "lori-assistant"
READERS = 2
READS = 500  # each
WHY = "the race"
PATIENCE = 600
"""Seconds for all of them."""


def learned(home: Path, root: Path, count: int) -> None:
    """So many versions, the first of which serves."""
    with open_registry(home) as registry:
        learn(registry, root, count)
        Desk(registry, ANN).promote("assistant", 1, reason="the first", expect="none")


def promote_at_once(home: Path, root: Path, contenders: int) -> str:
    """Let `contenders` processes promote a version of their own in the stores that are named.

    Returns what was measured, in a sentence.
    """
    switch_telemetry_off()
    fork = get_context("fork")
    first = Fork(target=learned, args=(home, root, contenders + 1))
    first.start()  # apart: a connection opened here would be inherited by all of them
    first.join()
    assert first.exitcode == 0
    start, over = fork.Barrier(contenders + READERS), fork.Event()
    told: Queue[tuple[int, str]] = fork.Queue()
    read: Queue[Counter[int | None]] = fork.Queue()
    versions = range(2, contenders + 2)
    racers = [Fork(target=_promote, args=(home, v, start, told)) for v in versions]
    readers = [Fork(target=_read, args=(home, start, over, read)) for _ in range(READERS)]
    for process in (*racers, *readers):
        process.start()
    answers = dict(told.get(timeout=PATIENCE) for _ in versions)
    over.set()
    seen = [read.get(timeout=PATIENCE) for _ in readers]
    for process in (*racers, *readers):
        process.join()
        assert process.exitcode == 0

    (winner,) = (version for version, said in answers.items() if said == "applied")
    for version, said in answers.items():
        if version != winner:
            assert said == (
                f"champion: moved: assistant@champion is version {winner},"
                " and version 1 was expected"
            )
    with open_registry(home) as registry:
        desk = Desk(registry, ANN)
        champion, before = (registry.version("assistant", k).model_version for k in (winner, 1))
        assert desk.champion("assistant") == winner
        assert registry.aliases().get_alias(MODEL, "champion") == champion
        assert registry.aliases().get_alias(MODEL, "previous") == before
        assert [each.to_version for each in desk.history("assistant")] == [1, winner]
        assert desk.check_history("assistant").ok
    for counted in seen:
        assert sum(counted.values()) >= READS
        assert set(counted) <= {before, champion}, "a read missed the alias"
    reads = sum(sum(counted.values()) for counted in seen)
    return f"1 of {contenders} applied, the others told that it moved; {reads} reads, none missed"


def _promote(home: Path, version: int, start: Barrier, told: "Queue[tuple[int, str]]") -> None:
    with open_registry(home) as registry:
        start.wait()
        try:
            made = Desk(registry, ANN).promote("assistant", version, reason=WHY, expect=1)
            said = made.status
        except CheckFailed as refusal:
            said = str(refusal)
    tell(told, (version, said))


def _read(home: Path, start: Barrier, over: Event, told: "Queue[Counter[int | None]]") -> None:
    from registry.mlflow_aliases import MlflowAliases

    store = MlflowAliases(find_settings(home))
    start.wait()
    seen: Counter[int | None] = Counter()
    while sum(seen.values()) < READS or not over.is_set():
        seen[store.get_alias(MODEL, "champion")] += 1
    tell(told, seen)
