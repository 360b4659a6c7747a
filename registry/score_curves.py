"""The figures of every version of a sequence, in one pass over R: what `ScoreMatrix` says of each prefix.

`lori_core.forgetting` has the formulas and their sources; a test holds every figure here to it. The
pass exists because asking each prefix anew costs the cube of the number of tasks.

Intervals put the cells' own together (MOVER, `lori_core.intervals.mean_of_parts`): no rows are compared
here, so they are wider than a paired comparison's. A term that is proved is 0 and has no width. Two cells on other
rows, or by another metric, are no term: they are left out and counted.
"""

from collections.abc import Collection
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
    """`proved`, `same_bits`: every term is."""


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
class Earlier:
    """The tasks learned before a version, by how it is known what they lost."""

    proved: int = 0
    same_bits: int = 0
    """Of one function by digest, which no certificate covers."""
    measured: int = 0
    missing: int = 0
    """Not measured, or only at one of the two versions."""
    incomparable: int = 0
    """Scored on other rows, or by another metric, than at their best."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.proved + self.same_bits + self.measured + self.missing + self.incomparable


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
    earlier: Earlier
    missing: int
    """Cells of this row, on and below the diagonal, that were not measured."""


_Key = tuple[ScoreGrid, frozenset[int]]

_kept: Remembered[_Key, tuple[VersionFigures, ...]] = Remembered(most=2_000_000)
"""By size: cells of the grids they are of, which are kept with them. A grid is itself alone, and is made
anew when a cell changes.
"""


def kept_figures(grid: ScoreGrid, covered: Collection[int]) -> tuple[VersionFigures, ...]:
    """`figures_of` a grid that is kept itself (`score_grid.grids`), worked out once."""
    key = (grid, frozenset(covered))
    known = _kept.get(key)
    if known is None:
        known = figures_of(grid, covered)
        _kept.put(key, known, size=grid.value.size)
    return known


def figures_of(grid: ScoreGrid, covered: Collection[int]) -> tuple[VersionFigures, ...]:
    """The figures of versions 1..K.

    Args:
        grid: R under one read mode.
        covered: versions whose certificate covers this read (`registry.covering`).
    """
    count = len(grid.tasks)
    best = _Best(count)
    found = []
    diagonal = _Cells.of(grid, np.arange(1, grid.learned + 1), np.arange(grid.learned))
    forward = _forward(grid)
    for k in range(1, grid.learned + 1):
        now = _Cells.row(grid, k)
        terms = best.terms(grid, k, covered=k in covered)
        learned = now.first(k)
        found.append(
            VersionFigures(
                version=k,
                task=grid.tasks[k - 1],
                average=learned.mean(),
                learning=diagonal.first(k).mean(),
                forgetting=None if terms is None else terms.mean(),
                backward=_backward(grid, k, covered=k in covered),
                forward=forward.first(k).mean(),
                worst=None if terms is None else terms.worst(grid, k),
                earlier=Earlier() if terms is None else terms.earlier(),
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

    def without(self, these: Flags) -> "_Cells":
        """The same, as if these had not been measured."""
        return _Cells(
            *(np.where(these, np.nan, each) for each in (self.value, self.low, self.high))
        )


def _forward(grid: ScoreGrid) -> _Cells:
    """The terms of forward transfer, of tasks 2, 3, ... in order."""
    last = min(len(grid.tasks), grid.learned + 1)
    columns = np.arange(1, last)
    before = _Cells.of(grid, columns, columns)
    base = np.zeros(len(columns), np.int64)
    found = before.minus(_Cells.of(grid, base, columns))
    apart = grid.scale[columns, columns] != grid.scale[base, columns]
    return found.without(apart)


def backward_terms(grid: ScoreGrid, covered: Collection[int]) -> Earlier:
    """How the terms of backward transfer are known, at the newest version: each task's score now against
    the one just after it was learned. Those of forgetting are `VersionFigures.earlier`.
    """
    k = grid.learned
    at = np.arange(max(0, k - 1))
    known = (grid.cell[k, at] > 0) & (grid.cell[at + 1, at] > 0)
    same = grid.unchanged[k, at] & known
    proved = same & (k in covered)
    apart = known & ~proved & (grid.scale[k, at] != grid.scale[at + 1, at])
    return Earlier(
        proved=int(proved.sum()),
        same_bits=int((same & ~proved & ~apart).sum()),
        measured=int((known & ~same & ~apart).sum()),
        missing=int((~known).sum()),
        incomparable=int(apart.sum()),
    )


def _backward(grid: ScoreGrid, k: int, *, covered: bool) -> float | None:
    at = np.arange(k - 1)
    moved = grid.value[k, at] - grid.value[at + 1, at]
    apart = grid.scale[k, at] != grid.scale[at + 1, at]
    sure = grid.unchanged[k, at] & covered & ~np.isnan(moved)
    return _mean(np.where(sure, 0.0, np.where(apart, np.nan, moved)))


@dataclass(slots=True)
class _Terms:
    cells: _Cells
    proved: Flags
    same: Flags
    """Of one function by digest, the proved ones among them."""
    apart: Flags
    """Left out: on other rows, or by another metric."""
    best_at: np.ndarray

    def mean(self) -> Mean | None:
        mean = self.cells.mean()
        known = ~np.isnan(self.cells.value)
        if mean is None or not bool(self.same[known].all()):
            return mean
        sure: Basis = "proved" if bool(self.proved[known].all()) else "same_bits"
        return Mean(value=mean.value, low=mean.low, high=mean.high, terms=mean.terms, basis=sure)

    def earlier(self) -> Earlier:
        known = ~np.isnan(self.cells.value)
        proved, same = int(self.proved.sum()), int((self.same & known).sum())
        apart = int(self.apart.sum())
        return Earlier(
            proved=proved,
            same_bits=same - proved,
            measured=int(known.sum()) - same,
            missing=len(known) - int(known.sum()) - apart,
            incomparable=apart,
        )

    def worst(self, grid: ScoreGrid, k: int) -> Worst | None:
        if np.isnan(self.cells.value).all():
            return None
        most = self.cells.value == np.nanmax(self.cells.value)
        # Of those that lost as much, one that is not proved: it could be worse than it looks.
        at = int(np.argmax(most & ~self.proved if (most & ~self.proved).any() else most))
        return Worst(
            task=grid.tasks[at],
            position=at + 1,
            best_at=int(self.best_at[at]),
            value=float(self.cells.value[at]) + 0.0,
            low=float(self.cells.low[at]) + 0.0,
            high=float(self.cells.high[at]) + 0.0,
            basis=self._basis(at),
            n=int(grid.n[k, at]),
        )

    def _basis(self, at: int) -> Basis:
        if self.proved[at]:
            return "proved"
        return "same_bits" if self.same[at] else "unpaired"


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
        known, then = ~np.isnan(lost.value), np.arange(k - 1)
        same = self.learned[: k - 1] & grid.unchanged[k, : k - 1] & known
        proved = same & covered
        apart = (grid.scale[self.at[: k - 1], then] != grid.scale[k, : k - 1]) & known & ~proved
        lost = lost.without(apart)
        for each in (lost.value, lost.low, lost.high):
            each[proved] = 0.0
        return _Terms(lost, proved, same, apart, self.at[: k - 1].copy())


def _mean(terms: Floats) -> float | None:
    known = terms[~np.isnan(terms)]
    return float(known.mean()) if len(known) else None
