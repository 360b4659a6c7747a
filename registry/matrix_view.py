"""R under one read mode as a page shows it: a window of cells, the whole as a map, the guards.

Every cell says what it is. `own`: the task just after it was learned (the diagonal). `proved`: the very
function that was measured then, by digest, under a certificate that covers it. `same_bits`: that function, which no certificate
covers. `measured`: a later
version's score. `ahead`: a task before it was learned. `base`: the bare base. `missing`: it should have
been measured and was not. `unasked`: no evaluation asks for it by default.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry.models import Evaluation
from registry.remembered import Remembered
from registry.score_grid import Floats, ScoreGrid

CellKind = Literal["base", "own", "proved", "same_bits", "measured", "ahead", "missing", "unasked"]

WINDOW = 25
"""Rows and columns of a table."""

LARGEST_MAP = 200
"""Tasks up to which a map has a place for each cell; beyond, neighbours share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One measured score, with its interval at 95 %."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCell:
    """One place of R."""

    kind: CellKind
    score: Score | None
    change: float | None
    """For a task that was learned before: how far it is from its score then. Exactly 0 where proved; None
    where then was on other rows, or by another metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixLine:
    """One row of the window."""

    version: int
    """0: the bare base."""
    task: str | None
    """The task learned at this version."""
    filed: bool
    """Whether the version is filed; the bare base always is."""
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixMap:
    """The whole of R, or means of its neighbours where it is large."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scores: tuple[tuple[float | None, ...], ...]
    changes: tuple[tuple[float | None, ...], ...]
    """From the score a task had when it was learned; None before that."""
    own: tuple[int | None, ...]
    """Of each row, the column of the task learned there; None for the base, and where means are shown."""
    bin: int
    """Versions and tasks that share a place; 1: each has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixView:
    """R under one read mode."""

    sequence: str
    read: Read
    trained: bool
    """Whether it is the mode the sequence is trained and served under."""
    tasks: int
    """Columns in all."""
    versions: int
    """Rows in all, without the base's."""
    first_row: int
    """The first version of the window."""
    first_column: int
    """The position of the window's first task."""
    columns: tuple[str, ...]
    lines: tuple[MatrixLine, ...]
    """The base row, then the window's versions."""
    measured: int
    """Cells of all versions that were measured; the base row is that of every mode."""
    base_measured: int
    """Cells of the base row that were measured, which `measured` leaves out."""
    missing: int
    """Cells on and below the diagonal, the base row's among them, that were not. Tasks that are only declared are not
    among them, nor the base row of an encoder, which has no head before its task."""
    whole: MatrixMap


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """What every guard scores under the adapter that serves one task."""

    under: str
    position: int
    cells: tuple[Score | None, ...]
    """One for each guard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardsView:
    """Guards under every task's served adapter, at one version."""

    guards: tuple[str, ...]
    version: int
    read: Read
    base: tuple[Score | None, ...]
    """What each guard scores on the bare base."""
    rows: tuple[GuardRow, ...]
    """Of the window's tasks."""
    worst: tuple[tuple[str, str, Score] | None, ...]
    """Of each guard: itself, the task under whose adapter it scores least of all tasks', and that score."""


def matrix_view(
    sequence: str,
    grid: ScoreGrid,
    *,
    trained: bool,
    covered: Collection[int],
    filed: Collection[int],
    encoder: bool = False,
    rows: int | None = None,
    columns: int | None = None,
) -> MatrixView:
    """A window of R, and all of it as a map.

    Args:
        sequence: its name.
        grid: R.
        trained: whether it is the mode the sequence serves under.
        covered: versions whose certificate covers this read (`registry.covering`).
        filed: versions that are filed.
        encoder: whether it is of an encoder, which has no base row.
        rows: the first version of the window; None: so that the newest is in it.
        columns: the first task of the window; None: so that the newest learned one is in it.
    """
    count, last = len(grid.tasks), grid.learned
    first_row = _start(rows, last)
    first_column = _start(columns, count if columns is not None else min(count, last + 1))
    ends = min(count, first_column - 1 + WINDOW)
    versions = [0, *range(first_row, min(last, first_row + WINDOW - 1) + 1)]
    return MatrixView(
        sequence=sequence,
        read=grid.read,
        trained=trained,
        tasks=count,
        versions=last,
        first_row=first_row,
        first_column=first_column,
        columns=grid.tasks[first_column - 1 : ends],
        lines=tuple(
            MatrixLine(
                version=k,
                task=grid.tasks[k - 1] if k else None,
                filed=not k or k in filed,
                cells=matrix_line(grid, k, first_column, ends, covered, encoder=encoder),
            )
            for k in versions
        ),
        measured=int((grid.cell[1:] > 0).sum()),
        base_measured=int((grid.cell[0] > 0).sum()),
        missing=_missing(grid, encoder=encoder),
        whole=kept_map(grid, covered),
    )


def score_at(grid: ScoreGrid, version: int, position: int) -> Score | None:
    """A cell's score; None for what was not measured, and for a place that R does not have."""
    if not 0 <= version <= grid.learned or not grid.cell[version, position - 1]:
        return None
    at = version, position - 1
    return Score(
        value=float(grid.value[at]),
        low=float(grid.low[at]),
        high=float(grid.high[at]),
        n=int(grid.n[at]),
    )


def matrix_line(
    grid: ScoreGrid,
    version: int,
    first: int,
    last: int,
    covered: Collection[int],
    *,
    encoder: bool = False,
) -> tuple[MatrixCell, ...]:
    """The cells of one version, for the tasks at these positions; see the top of this file."""
    part = slice(first - 1, last)
    # As far as tasks were learned.
    then = np.diagonal(grid.value[1:])[part].tolist()
    scales = np.diagonal(grid.scale[1:])[part].tolist()
    cells = []
    for at, (cell, value, low, high, n, unchanged, scale) in enumerate(
        zip(
            # Whole rows at once: a number at a time, numpy is ten times as slow.
            grid.cell[version, part].tolist(),
            grid.value[version, part].tolist(),
            grid.low[version, part].tolist(),
            grid.high[version, part].tolist(),
            grid.n[version, part].tolist(),
            grid.unchanged[version, part].tolist(),
            grid.scale[version, part].tolist(),
            strict=True,
        )
    ):
        position = first + at
        if not cell:
            asked = version >= position or (
                version == 0 and position <= grid.learned and not encoder
            )
            kind: CellKind = "missing" if asked else "unasked"
            cells.append(MatrixCell(kind=kind, score=None, change=None))
            continue
        kind = _kind(version, position, unchanged=unchanged, covered=version in covered)
        change: float | None = None
        if version > position and then[at] == then[at]:  # NaN alone is not itself
            if kind == "proved":
                change = 0.0
            elif scale == scales[at]:
                change = value - then[at] + 0.0
        cells.append(
            MatrixCell(
                kind=kind,
                score=Score(value=value, low=low, high=high, n=n),
                change=change,
            )
        )
    return tuple(cells)


def _kind(version: int, position: int, *, unchanged: bool, covered: bool) -> CellKind:
    if version == 0:
        return "base"
    if version == position:
        return "own"
    if version < position:
        return "ahead"
    if not unchanged:
        return "measured"
    return "proved" if covered else "same_bits"


_maps: Remembered[tuple[ScoreGrid, frozenset[int]], MatrixMap] = Remembered(most=2_000_000)
"""By size: cells of the grids they are of, which are kept with them."""


def kept_map(grid: ScoreGrid, covered: Collection[int]) -> MatrixMap:
    """`matrix_map` of a grid that is kept itself (`score_grid.grids`), made once."""
    key = (grid, frozenset(covered))
    known = _maps.get(key)
    if known is None:
        known = matrix_map(grid, covered)
        _maps.put(key, known, size=grid.value.size)
    return known


def matrix_map(grid: ScoreGrid, covered: Collection[int] = ()) -> MatrixMap:
    """All of R; the means of squares of neighbours where there are more than `LARGEST_MAP`."""
    count, last = len(grid.tasks), grid.learned
    each = max(1, -(-count // LARGEST_MAP))
    changes = _changes(grid, covered)
    names = ["base", *(f"{k} {grid.tasks[k - 1]}" for k in range(1, last + 1))]
    if each == 1:
        return MatrixMap(
            rows=tuple(names),
            columns=grid.tasks,
            scores=_lists(grid.value),
            changes=_lists(changes),
            own=(None, *range(last)),
            bin=1,
        )
    return MatrixMap(
        rows=("base", *_named([str(k) for k in range(1, last + 1)], each)),
        columns=_named(grid.tasks, each),
        scores=_lists(_binned(grid.value, each)),
        changes=_lists(_binned(changes, each)),
        own=(),
        bin=each,
    )


def guards_view(
    session: Session,
    sequence_id: int,
    grid: ScoreGrid,
    guards: Sequence[str],
    first: int,
    newest: int,
) -> GuardsView | None:
    """The guards at the newest version, under every adapter that serves; None where there are none.

    A guard's score under its own adapter is its cell of R.

    Args:
        session: an open one.
        sequence_id: whose.
        grid: its R, of the mode that is wanted.
        guards: names of guards.
        first: position of the first task of the window.
        newest: the newest filed version.
    """
    place = {task: position for position, task in enumerate(grid.tasks, start=1)}
    known = tuple(guard for guard in guards if guard in place)
    if not known or newest == 0:
        return None
    found: dict[tuple[str, str], Score] = {}
    rows = session.execute(
        select(
            Evaluation.task,
            Evaluation.adapter_of,
            Evaluation.value,
            Evaluation.low,
            Evaluation.high,
            Evaluation.n,
        )
        .where(
            Evaluation.sequence_id == sequence_id,
            Evaluation.read == grid.read,
            Evaluation.version == newest,
            Evaluation.task.in_(known),
            Evaluation.adapter_of != "",
        )
        .order_by(Evaluation.id)
    )
    for guard, under, value, low, high, n in rows:
        found[guard, under] = Score(value=value, low=low, high=high, n=n)
    for guard in known:
        own = score_at(grid, newest, place[guard])
        if own is not None and place[guard] <= newest:
            if grid.read == "cumulative":  # all tasks are served one adapter
                found |= {(guard, task): own for task in grid.tasks[:newest]}
            found[guard, guard] = own
    learned = grid.tasks[:newest]
    return GuardsView(
        guards=known,
        version=newest,
        read=grid.read,
        base=tuple(score_at(grid, 0, place[guard]) for guard in known),
        rows=tuple(
            GuardRow(
                under=task,
                position=place[task],
                cells=tuple(found.get((guard, task)) for guard in known),
            )
            for task in learned[first - 1 : first - 1 + WINDOW]
        ),
        worst=tuple(_least(guard, learned, found) for guard in known),
    )


def _least(
    guard: str, learned: Sequence[str], found: Mapping[tuple[str, str], Score]
) -> tuple[str, str, Score] | None:
    scores = [(found[guard, task], task) for task in learned if (guard, task) in found]
    if not scores:
        return None
    score, task = min(scores, key=lambda each: each[0].value)
    return guard, task, score


def _missing(grid: ScoreGrid, *, encoder: bool) -> int:
    asked = np.tri(grid.learned + 1, len(grid.tasks), -1, dtype=np.bool_)
    asked[0, : grid.learned] = not encoder
    return int((asked & (grid.cell == 0)).sum())


def _start(wanted: int | None, count: int) -> int:
    """The first of a window; the last window that is full where there are fewer after it."""
    latest = max(1, count - WINDOW + 1)
    return latest if wanted is None else min(max(1, wanted), max(1, count))


def _changes(grid: ScoreGrid, covered: Collection[int]) -> Floats:
    """Of each cell at or after its task's version, how far it is from the score of then.

    NaN before, and where then was on other rows, or by another metric; 0 where it is proved.
    """
    last = min(grid.learned, len(grid.tasks))
    own, scale = np.full(len(grid.tasks), np.nan), np.zeros(len(grid.tasks), np.int64)
    own[:last] = np.diagonal(grid.value[1:])[:last]
    scale[:last] = np.diagonal(grid.scale[1:])[:last]
    after = np.tri(grid.learned + 1, len(grid.tasks), -1, dtype=np.bool_)
    moved = grid.value - np.where(after, own, np.nan)
    sure = np.isin(np.arange(grid.learned + 1), list(covered))[:, None] & grid.unchanged
    sure &= ~np.isnan(moved)
    return np.where(sure, 0.0, np.where(grid.scale == scale, moved, np.nan))


def _binned(values: Floats, each: int) -> Floats:
    """The base row's bins, then the means of what was measured in each square."""
    return np.vstack([_squares(values[:1], 1, each), _squares(values[1:], each, each)])


def _squares(values: Floats, high: int, wide: int) -> Floats:
    rows, columns = -(-values.shape[0] // high), -(-values.shape[1] // wide)
    padded = np.full((rows * high, columns * wide), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, high, columns, wide)
    known = (~np.isnan(blocks)).sum(axis=(1, 3))
    sums = np.nansum(blocks, axis=(1, 3))
    return np.where(known > 0, sums / np.maximum(known, 1), np.nan)


def _named(names: Sequence[str], each: int) -> tuple[str, ...]:
    bins = [names[start : start + each] for start in range(0, len(names), each)]
    return tuple(own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}" for own in bins)


def _lists(values: Floats) -> tuple[tuple[float | None, ...], ...]:
    return tuple(
        tuple(None if value != value else value + 0.0 for value in row)  # NaN alone is not itself
        for row in np.round(values, 5).tolist()
    )
