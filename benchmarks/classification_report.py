"""The table of `benchmarks.classification`, as Markdown, from the units measured so far.

    python -m benchmarks.classification_report [--train-rows 2000] [--test-rows 500] [--matmul medium] [--batch 8]

Two tables: every method at its entry rate (the best of seed 0 on dev rows) over its seeds, and the
whole grid at seed 0, learning accuracy against backward transfer. What was not measured is not in
them, and the number of seeds is.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from benchmarks.classification import METHODS, ORDER, Settings
from lori_core.forgetting import ScoreMatrix


@dataclass(frozen=True)
class Measured:
    """One unit: a method at a rate and seed, its R for each read it was scored under."""

    method: str
    rate: float
    seed: int
    dev: float
    seconds: float
    matrices: dict[str, ScoreMatrix]


def measured(folder: Path) -> list[Measured]:
    """Every unit in a folder, by method, rate and seed."""
    units = []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        matrices = {read: score_matrix(rows) for read, rows in found["matrices"].items()}
        where = found["method"], found["rate"], found["seed"]
        units.append(Measured(*where, mean(found["dev"]), found["seconds"], matrices))
    return sorted(units, key=lambda unit: (METHODS.index(unit.method), unit.rate, unit.seed))


def score_matrix(rows: Sequence[Sequence[float | None]]) -> ScoreMatrix:
    """R as the unit has it, with the base row, which an encoder does not have."""
    base: tuple[float | None, ...] = (None,) * len(ORDER)
    return ScoreMatrix(ORDER, (base, *(tuple(row) for row in rows)))


def entries(units: Sequence[Measured]) -> dict[str, list[Measured]]:
    """For each method the units at its entry rate: best mean dev accuracy at seed 0, ties to the lower."""
    chosen: dict[str, list[Measured]] = {}
    for method in dict.fromkeys(unit.method for unit in units):
        of_method = [unit for unit in units if unit.method == method]
        grid = [unit for unit in of_method if unit.seed == 0]
        if grid:
            best = max(grid, key=lambda unit: (unit.dev, -unit.rate)).rate
            chosen[method] = [unit for unit in of_method if unit.rate == best]
    return chosen


def entry_table(units: Sequence[Measured]) -> Iterable[str]:
    """Lines of the table of methods at their entry rates."""
    names = " | ".join(ORDER)
    yield f"| method, read | rate | seeds | {names} | mean at the end | learning accuracy | backward transfer |"
    yield "|---|---:|---:|" + "---:|" * (len(ORDER) + 3)
    for method, found in entries(units).items():
        for read in found[0].matrices:
            ends = [unit.matrices[read].rows[-1] for unit in found]
            columns = [spread([end[i] for end in ends]) for i in range(len(ORDER))]
            figures = [
                spread([unit.matrices[read].average_accuracy() for unit in found]),
                spread([unit.matrices[read].learning_accuracy() for unit in found]),
                spread([unit.matrices[read].backward_transfer() for unit in found]),
            ]
            cells = " | ".join([*columns, *figures])
            yield f"| {method}, {read} | {found[0].rate:g} | {len(found)} | {cells} |"


def grid_table(units: Sequence[Measured]) -> Iterable[str]:
    """Lines of the frontier: every rate at seed 0."""
    yield "| method, read | rate | dev | learning accuracy | backward transfer |"
    yield "|---|---:|---:|---:|---:|"
    for unit in units:
        if unit.seed == 0:
            for read, matrix in unit.matrices.items():
                learned = points(matrix.learning_accuracy())
                moved = points(matrix.backward_transfer())
                dev = points(unit.dev)
                yield f"| {unit.method}, {read} | {unit.rate:g} | {dev} | {learned} | {moved} |"


def spread(values: Sequence[float | None]) -> str:
    """Mean in points with the sample standard deviation over seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if len(known) == 1:
        return points(known[0])
    return f"{points(mean(known))} ± {100 * stdev(known):.1f}"


def points(value: float | None) -> str:
    """A share in points."""
    return "–" if value is None else f"{100 * value:.1f}"


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--train-rows", type=int, default=2000)
    arguments.add_argument("--test-rows", type=int, default=500)
    arguments.add_argument("--matmul", choices=("highest", "medium"), default="highest")
    arguments.add_argument("--batch", type=int, default=8)
    options = arguments.parse_args()
    settings = Settings(
        data=Path(),
        model=Path(),
        train_rows=options.train_rows,
        test_rows=options.test_rows,
        matmul=options.matmul,
        batch=options.batch,
    )
    units = measured(settings.folder)
    print("\n".join(entry_table(units)))
    print()
    print("\n".join(grid_table(units)))
    print(f"\n{len(units)} units, {sum(unit.seconds for unit in units) / 3600:.1f} hours in all")


if __name__ == "__main__":
    main()
