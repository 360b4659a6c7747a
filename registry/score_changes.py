"""What changed between two cells, and how it is known: proved, or measured row by row, or only side by side.

The kinds are never mixed up. `proved`: the same function by digest, and a certificate of the later
version that covers this read. `same_bits`: the same function, which no certificate covers: no row is
compared, and it is as sure as its rows are. `paired`: both cells' predictions compared row by row, by the
gate's own statistics. `unpaired`: the intervals of the two cells put together, because their rows
cannot be compared; it says why, and is wider than it would have to be. Cells on other rows, or by another
metric, have no difference: only why.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from lori_core.intervals import Interval, mean_of_parts
from registry.gating.cells import COLUMNS, Cells, Measured
from registry.gating.evidence import Certified, Evidence, Fault, Place
from registry.gating.references import Reference
from registry.gating.statistics import Unchanged, nothing_seen, two_sided
from registry.models import Evaluation
from registry.remembered import Remembered
from registry.score_grid import ScoreGrid
from registry.store import Registry

Basis = Literal["proved", "same_bits", "paired", "unpaired"]

CONFIDENCE = 0.95


class Scored(NamedTuple):
    """A cell with all that comparing it takes, and its interval."""

    cell: Measured
    low: float
    high: float


SCORED = (*COLUMNS, Evaluation.low, Evaluation.high)
"""Of `Scored`, in its order."""


def scored(row: Sequence[Any]) -> Scored:
    """A row of `SCORED`."""
    *cell, low, high = row
    return Scored(Measured._make(cell), low, high)


Spot = tuple[int, int]
"""(version, position) of a cell of R."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How much a score moved, with its interval at 95 %."""

    value: float
    low: float
    high: float
    n: int
    """Rows: those compared, or of the smaller of two cells that could not be."""
    basis: Basis
    why: str | None = None
    """For `unpaired`: why the rows could not be compared."""

    @property
    def turned(self) -> "Change":
        """The same as a loss where it is a gain, and the other way."""
        return Change(
            value=-self.value + 0.0, low=-self.high + 0.0, high=-self.low + 0.0, n=self.n,
            basis=self.basis, why=self.why,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NotComparable:
    """Two cells whose scores are of different things: there is no figure."""

    why: str
    basis: Literal["none"] = "none"

    @property
    def turned(self) -> "NotComparable":
        """Itself: there is nothing to turn."""
        return self


_Found = tuple[str, str | None, str, str | None]
"""Key and digest of the predictions, of both cells: what a comparison is made from."""

_compared: Remembered[tuple[str, _Found], Change] = Remembered(most=50_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """What a task reached in another sequence, with nothing learned before it."""

    sequence: str
    scored: Scored

    def __str__(self) -> str:
        """Say whose, where."""
        return str(Reference(self.sequence, self.scored.cell))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """Compares cells of one grid."""

    registry: Registry
    session: Session
    grid: ScoreGrid
    covered: Collection[int]
    """Versions whose certificate covers this read (`registry.covering`)."""

    def proved(self, before: Spot, after: Spot) -> bool:
        """Whether nothing can have changed: one function by digest, which a certificate covers."""
        return after[0] in self.covered and self._is_learned(before) and self._is_learned(after)

    def changes(
        self, pairs: Iterable[tuple[Spot, Spot]]
    ) -> dict[tuple[Spot, Spot], Change | NotComparable]:
        """What changed from the first to the second of each pair; one statement for all of them.

        Pairs of which a cell was not measured are left out.
        """
        known = [pair for pair in pairs if all(self._cell(spot) for spot in pair)]
        found: dict[tuple[Spot, Spot], Change | NotComparable] = {
            pair: self._nothing(pair[1]) for pair in known if self.proved(*pair)
        }
        rest = [pair for pair in known if pair not in found]
        cells = self._read({self._cell(spot) for pair in rest for spot in pair})
        evidence = self._evidence()
        for before, after in rest:
            one, other = cells.get(self._cell(before)), cells.get(self._cell(after))
            if one is None or other is None:  # deleted between two statements
                continue
            found[before, after] = row_by_row(
                evidence, one, str(Place(before[0], one.cell.task)), other
            )
        return found

    def against(self, references: Mapping[Spot, Alone]) -> dict[Spot, Change | NotComparable]:
        """What changed from a task alone, in another sequence, to a cell of this; one statement for all."""
        own = self._read({self._cell(spot) for spot in references})
        evidence = self._evidence()
        found: dict[Spot, Change | NotComparable] = {}
        for spot, reference in references.items():
            cell = own.get(self._cell(spot))
            if cell is not None:
                found[spot] = row_by_row(evidence, reference.scored, str(reference), cell)
        return found

    def _read(self, identities: set[int]) -> dict[int, Scored]:
        return read_cells(self.session, identities)

    def _evidence(self) -> Evidence:
        return how_to_compare(self.registry, self.grid.read)

    def _is_learned(self, spot: Spot) -> bool:
        version, position = spot
        return version == position or bool(self.grid.unchanged[version, position - 1])

    def _cell(self, spot: Spot) -> int:
        return int(self.grid.cell[spot[0], spot[1] - 1])

    def _nothing(self, spot: Spot) -> Change:
        n = int(self.grid.n[spot[0], spot[1] - 1])
        return Change(value=0.0, low=0.0, high=0.0, n=n, basis="proved")


def read_cells(session: Session, identities: Iterable[int]) -> dict[int, Scored]:
    """The cells of some rows of the store, with all that comparing them takes; one statement."""
    wanted = sorted(set(identities))
    if not wanted:
        return {}
    rows = session.execute(select(Evaluation.id, *SCORED).where(Evaluation.id.in_(wanted)))
    return {row[0]: scored(row[1:]) for row in rows}


def how_to_compare(registry: Registry, read: Read) -> Evidence:
    """The gate's own way to read predictions and compare them; it is asked for nothing else."""
    return Evidence(
        sequence="",
        base_digest="",
        protection="",
        tasks=(),
        declared={},
        predecessors={},
        read=read,
        encoder=False,
        certificate=Certified(level="G0", read=read),
        home=registry.settings.home,
        cells=Cells(registry, 0, read),
    )


def why_not(before: Measured, after: Measured) -> str | None:
    """Why two scores have no difference at all: they are of other rows, or of another metric."""
    if before.test_digest != after.test_digest:
        return "measured on different test sets"
    if (before.metric, before.metric_version) != (after.metric, after.metric_version):
        return "scored by different metrics, or versions of one"
    return None


def row_by_row(
    evidence: Evidence, before: Scored, name: str, after: Scored
) -> Change | NotComparable:
    """What changed from one cell to another, by their predictions; side by side where those cannot be.

    Args:
        evidence: `how_to_compare`.
        before: the cell before.
        name: what it is called where something is wrong with it.
        after: the cell after.
    """
    one, other = before.cell, after.cell
    if (apart := why_not(one, other)) is not None:
        return NotComparable(why=apart)
    key = (
        str(evidence.home),
        (one.key, one.predictions_sha256, other.key, other.predictions_sha256),
    )
    if known := _compared.get(key):
        return known
    compared = evidence.compare_cells(one, name, other, Place(other.version, other.task))
    if isinstance(compared, Fault):
        return _unpaired(before, after, compared.why)
    if isinstance(compared, Unchanged):  # and no certificate covers it: as sure as its rows are
        same = nothing_seen(compared.n, CONFIDENCE)
        made = Change(value=0.0, low=same.low, high=same.high, n=compared.n, basis="same_bits")
    else:
        moved = two_sided(compared.parts, CONFIDENCE)
        made = Change(
            value=moved.value + 0.0, low=moved.low + 0.0, high=moved.high + 0.0,
            n=compared.n, basis="paired",
        )  # fmt: skip
    _compared.put(key, made)
    return made


def _unpaired(before: Scored, after: Scored, why: str) -> Change:
    """The difference of two scores with their own intervals put together (MOVER)."""
    one, other = before.cell, after.cell
    half = mean_of_parts(
        [
            Interval(other.value, after.low, after.high),
            Interval(-one.value, -before.high, -before.low),
        ]
    )
    return Change(
        value=2 * half.value, low=2 * half.low, high=2 * half.high, n=min(one.n, other.n),
        basis="unpaired", why=why,
    )  # fmt: skip
