"""Many processes register at once, then all of it once more: nothing twice, no gap, no error.

Acceptance 1. Each process files a sequence of its own; in the second round, its neighbour's; in the
third, each two of them file one and the same new sequence side by side.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import create_engine, text

from registry.settings import find_settings
from registry.store import open_registry
from tests.registry.soak_cases import assert_whole, declare, file


def register_at_once(folder: Path, processes: int, each: int) -> str:
    """File `processes` x `each` adapters, twice, in the stores that the environment names; then
    half as many in pairs.

    Returns what was measured, in a sentence.
    """
    home = folder / ".lori"
    with open_registry(home) as registry:
        for name in (*_names(processes), *_shared(processes)):
            declare(registry, name, each)
    own = _names(processes)
    first = _round(home, folder, "own", own, each)
    before = {name: assert_whole(home, name, each) for name in own}
    second = _round(home, folder, "again", [*own[1:], own[0]], each)
    after = {name: assert_whole(home, name, each) for name in own}
    assert after == before, "the second round changed something"
    shared = _shared(processes)
    third = _round(home, folder, "pairs", [*shared, *shared], each)
    for name in shared:
        assert_whole(home, name, each)
    engine = create_engine(find_settings(home).registry_url)
    with engine.connect() as connection:
        counted = [
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()
            for table in ("adapters", "versions")
        ]
    engine.dispose()
    assert counted == [(processes + len(shared)) * each] * 2, counted
    return (
        f"{counted[0]} adapters, {counted[1]} versions, no gap, no error; {first:.0f} s, once more"
        f" {second:.0f} s, {len(shared)} sequences by two processes each {third:.0f} s"
    )


def _names(processes: int) -> list[str]:
    return [f"s{process}" for process in range(processes)]


def _shared(processes: int) -> list[str]:
    """Sequences that two processes file at once."""
    return [f"pair{number}" for number in range(max(1, processes // 2))]


def _round(home: Path, work: Path, name: str, sequences: list[str], each: int) -> float:
    """Start one process a sequence named, let them load MLflow, let them go together.

    Returns the seconds of the filing itself.
    """
    gate = work / f"go-{name}"
    told = ["--home", str(home), "--work", str(work), "--each", str(each), "--gate", str(gate)]
    command = [sys.executable, "-m", "tests.registry.soak_filing", *told]
    clerks = [
        subprocess.Popen(
            [*command, "--sequence", sequence, "--name", str(place)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place, sequence in enumerate(sequences)
    ]
    while len(list(work.glob(f"{gate.name}.*"))) < len(sequences):
        if ended := [clerk for clerk in clerks if clerk.poll() is not None]:
            for clerk in clerks:
                clerk.kill()
            raise AssertionError(_errors(ended))
        time.sleep(0.1)
    began = time.monotonic()
    gate.touch()
    errors = _errors(clerks)
    assert not errors, errors
    return time.monotonic() - began


def _errors(clerks: list[subprocess.Popen[str]]) -> list[str]:
    said = [(clerk.communicate()[1], clerk.returncode) for clerk in clerks]
    return [text[-2000:] for text, status in said if status != 0]


def clerk(home: Path, work: Path, sequence: str, each: int, gate: Path, name: str) -> None:
    """One process: wait for all, then file every version of a sequence in order."""
    with open_registry(home) as registry:
        registry.stockroom()
        gate.with_name(f"{gate.name}.{name}").touch()
        while not gate.exists():
            time.sleep(0.02)
        for version in range(1, each + 1):
            file(registry, work, sequence, version)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("home", "work", "gate"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--sequence", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--each", type=int, required=True)
    given = parser.parse_args()
    clerk(given.home, given.work, given.sequence, given.each, given.gate, given.name)
