"""The figures of every version of a sequence, in one pass over R: what `ScoreMatrix` says of each prefix.

`lori_core.forgetting` has the formulas and their sources; a test holds every figure here to it. The
pass exists because asking each prefix anew costs the cube of the number of tasks.

Intervals put the cells' own together (MOVER, `lori_core.intervals.mean_of_parts`): no rows are compared
here, so they are wider than a paired comparison's. A term that is proved has no width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from registry.remembered import Remembered
from registry.score_changes import Basis
from registry.score_grid import Flags, Floats, ScoreGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tasks, with its interval at 95 %."""

    value: float
    low: float
    high: float
    terms: int
    """Tasks it is a mean of."""
    basis: Basis = "unpaired"
    """`proved`: every term is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The task that lost most, at one version."""

    task: str
    position: int
    best_at: int
    """The version it was at its best since it was learned."""
    value: float
    """What it lost since then, as a fraction; negative where it is better than ever."""
    low: float
    high: float
    basis: Basis
    n: int
    """Rows of the cell at this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFigures:
    """What one version did, over all tasks. None: undefined or not measured."""

    version: int
    task: str
    average: Mean | None
    """Average accuracy: the learned tasks now."""
    learning: Mean | None
    """Learning accuracy: each task just after it was learned."""
    forgetting: Mean | None
    """The loss since each earlier task was at its best."""
    backward: float | None
    """Backward transfer."""
    forward: Mean | None
    """Forward transfer: to each task from the second on, up to the one after this version's."""
    worst: Worst | None
    missing: int
    """Cells of this row, on and below the diagonal, that were not measured."""


_Key = tuple[ScoreGrid, tuple[tuple[int, str], ...]]

_kept: Remembered[_Key, tuple[VersionFigures, ...]] = Remembered(most=2_000_000)
"""By size: cells of the grids they are of, which are kept with them. A grid is itself alone, and is made
anew when a cell changes.
"""


def kept_figures(grid: ScoreGrid, certified: Mapping[int, str]) -> tuple[VersionFigures, ...]:
    """`figures_of` a grid that is kept itself (`score_grid.grids`), worked out once."""
    key = (grid, tuple(sorted(certified.items())))
    known = _kept.get(key)
    if known is None:
        known = figures_of(grid, certified)
        _kept.put(key, known, size=grid.value.size)
    return known


def figures_of(grid: ScoreGrid, certified: Mapping[int, str]) -> tuple[VersionFigures, ...]:
    """The figures of versions 1..K.

    Args:
        grid: R under one read mode.
        certified: version -> level of its certificate.
    """
    count = len(grid.tasks)
    best = _Best(count)
    found = []
    diagonal = _Cells.of(grid, np.arange(1, grid.learned + 1), np.arange(grid.learned))
    forward = _forward(grid)
    for k in range(1, grid.learned + 1):
        now = _Cells.row(grid, k)
        terms = best.terms(grid, k, covered=certified.get(k) in {"G1", "G2"})
        learned = now.first(k)
        found.append(
            VersionFigures(
                version=k,
                task=grid.tasks[k - 1],
                average=learned.mean(),
                learning=diagonal.first(k).mean(),
                forgetting=None if terms is None else terms.mean(),
                backward=_mean(now.first(k - 1).value - diagonal.first(k - 1).value),
                forward=forward.first(k).mean(),
                worst=None if terms is None else terms.worst(grid, k),
                missing=int(np.isnan(learned.value).sum()),
            )
        )
        best.see(grid, k)
    return tuple(found)


@dataclass(slots=True)
class _Cells:
    value: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, grid: ScoreGrid, rows: np.ndarray, columns: np.ndarray) -> "_Cells":
        at = rows, columns
        return cls(grid.value[at], grid.low[at], grid.high[at])

    @classmethod
    def row(cls, grid: ScoreGrid, k: int) -> "_Cells":
        return cls(grid.value[k], grid.low[k], grid.high[k])

    def first(self, count: int) -> "_Cells":
        return _Cells(self.value[:count], self.low[:count], self.high[:count])

    def mean(self) -> Mean | None:
        known = ~np.isnan(self.value)
        terms = int(known.sum())
        if not terms:
            return None
        value = float(self.value[known].mean())
        below = float(np.sqrt(((self.value - self.low)[known] ** 2).sum())) / terms
        above = float(np.sqrt(((self.high - self.value)[known] ** 2).sum())) / terms
        return Mean(value=value, low=value - below, high=value + above, terms=terms)

    def minus(self, other: "_Cells") -> "_Cells":
        """The difference, its interval by MOVER."""
        value = self.value - other.value
        below = np.hypot(self.value - self.low, other.high - other.value)
        above = np.hypot(self.high - self.value, other.value - other.low)
        return _Cells(value, value - below, value + above)


def _forward(grid: ScoreGrid) -> _Cells:
    """The terms of forward transfer, of tasks 2, 3, ... in order."""
    last = min(len(grid.tasks), grid.learned + 1)
    columns = np.arange(1, last)
    before = _Cells.of(grid, columns, columns)
    return before.minus(_Cells.of(grid, np.zeros(len(columns), np.int64), columns))


@dataclass(slots=True)
class _Terms:
    cells: _Cells
    proved: Flags
    best_at: np.ndarray

    def mean(self) -> Mean | None:
        mean = self.cells.mean()
        if mean is None or not bool(self.proved[~np.isnan(self.cells.value)].all()):
            return mean
        return Mean(
            value=mean.value, low=mean.low, high=mean.high, terms=mean.terms, basis="proved"
        )

    def worst(self, grid: ScoreGrid, k: int) -> Worst | None:
        if np.isnan(self.cells.value).all():
            return None
        at = int(np.nanargmax(self.cells.value))
        return Worst(
            task=grid.tasks[at],
            position=at + 1,
            best_at=int(self.best_at[at]),
            value=float(self.cells.value[at]) + 0.0,
            low=float(self.cells.low[at]) + 0.0,
            high=float(self.cells.high[at]) + 0.0,
            basis="proved" if self.proved[at] else "unpaired",
            n=int(grid.n[k, at]),
        )


class _Best:
    """Each task at its best since it was learned, up to the version seen last."""

    def __init__(self, count: int) -> None:
        self.cells = _Cells(*(np.full(count, np.nan) for _ in range(3)))
        self.at = np.zeros(count, np.int64)
        self.learned = np.zeros(count, np.bool_)

    def see(self, grid: ScoreGrid, k: int) -> None:
        """Take row k into account: the tasks learned by then."""
        row = _Cells.row(grid, k)
        better = (np.isnan(self.cells.value) & ~np.isnan(row.value)) | (
            row.value > self.cells.value
        )
        better[k:] = False
        for mine, theirs in (
            (self.cells.value, row.value), (self.cells.low, row.low), (self.cells.high, row.high),
        ):  # fmt: skip
            mine[better] = theirs[better]
        self.at[better] = k
        own = np.arange(len(better)) == k - 1
        self.learned[better] = (grid.unchanged[k] | own)[better]

    def terms(self, grid: ScoreGrid, k: int, *, covered: bool) -> _Terms | None:
        """What each task before version k lost since its best; None where there is none before."""
        if k < 2:
            return None
        now = _Cells.row(grid, k).first(k - 1)
        lost = self.cells.first(k - 1).minus(now)
        proved = self.learned[: k - 1] & grid.unchanged[k, : k - 1] & covered
        proved &= ~np.isnan(lost.value)
        for bound in (lost.low, lost.high):
            bound[proved] = lost.value[proved]
        return _Terms(lost, proved, self.at[: k - 1].copy())


def _mean(terms: Floats) -> float | None:
    known = terms[~np.isnan(terms)]
    return float(known.mean()) if len(known) else None
