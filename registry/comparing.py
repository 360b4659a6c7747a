"""Two versions on the same tasks: what the second gains or loses, each figure with how sure it is.

Tasks are the same where their test sets are, by digest. Of each the difference is *proved* zero (the same
adapter bits on the same base, under a certificate that covers the read), of the *same bits* (no certificate
covers them), *paired* (row by row, where the predictions of both were kept) or
*unpaired* (two intervals, as if of different rows); what is none of these is said, with the reason.
The statistics are those of `lori_core.intervals`, the pairing is the gate's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from lori_core.errors import NotFound
from lori_core.intervals import Interval, mean_of_parts
from registry import decided, lineage
from registry.covering import covered_by
from registry.decisions import BARE_BASE
from registry.evidence import base_name
from registry.gating.cells import COLUMNS, Measured
from registry.gating.evidence import Fault, paired_rows, read_scores
from registry.gating.statistics import Rows, nothing_seen, two_sided
from registry.models import Evaluation, Task
from registry.models import Sequence as SequenceRow
from registry.named import Named, parse_name
from registry.score_changes import why_not
from registry.store import Registry

How = Literal["proved", "same_bits", "paired", "unpaired", "none"]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score, or a change of one, with its interval at 95 % and its rows."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared."""

    name: str
    """`S/3`, or `S, bare base`."""
    sequence: str
    version: int
    """0 is the bare base."""
    read: Read
    """The mode its cells were measured under."""
    trained: Read
    """The mode the sequence is trained under."""
    protection: str
    base: str
    """Its name: a hub id, or the last part of a folder."""
    base_digest: str
    tasks: int
    """How many it has learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One task at both: b - a."""

    task: str
    """Its name at a."""
    other: str
    """Its name at b."""
    how: How
    a: Score | None
    b: Score | None
    change: Score | None
    """None where the two cannot be compared."""
    rose: int | None = None
    """Rows that score more at b; None where rows were not compared."""
    fell: int | None = None
    why: str
    """One sentence: what the figure stands on, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A task that only one of the two has."""

    task: str
    of: str
    """The side that has it."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions on the tasks both know."""

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    """Of the tasks with one test set, in the order of a."""
    mean: Score | None
    """Mean change over the tasks that could be compared, each with one share; `n` counts tasks."""
    alone: tuple[Alone, ...]
    notes: tuple[str, ...]
    """What besides the methods differs between the two."""
    common: int
    """Tasks with one test set, those that neither knows among them."""
    unmeasured: tuple[str, ...]
    """Of those, what either has learned and neither was measured on under its read; they are no difference."""


class Found(NamedTuple):
    """A cell, with the interval that was recorded with it."""

    cell: Measured
    low: float
    high: float

    @property
    def score(self) -> Score:
        """The cell's score."""
        return Score(value=self.cell.value, low=self.low, high=self.high, n=self.cell.n)


@dataclass(frozen=True, slots=True)
class _Change:
    value: Score
    rose: int
    fell: int


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two files of predictions; what is kept of them is known by their digests."""

    home: Path
    key: tuple[object, ...]
    a: Measured = field(compare=False)
    b: Measured = field(compare=False)


class _NotPaired(Exception):
    """Why rows cannot be compared one by one."""


def compare(registry: Registry, a: str, b: str, read: Read | None = None) -> Comparison:
    """Compare two versions, `S`, `S/3` or `S@champion`, on the tasks that both were measured on.

    Args:
        registry: where both are recorded.
        a: the first; of a name alone, the newest version.
        b: the second. What is told is b - a.
        read: the mode under which both are looked at; None is each one's own.

    Raises:
        BadInput: a name that is none.
        NotFound: there is no such sequence or version, or nothing under that alias.
    """
    with registry._database.reading() as session:
        first, mine = _side(session, parse_name(a), read)
        second, theirs = _side(session, parse_name(b), read)
        cells = _cells(session, mine.id, first), _cells(session, theirs.id, second)
        tasks = _tests(session, mine.id), _tests(session, theirs.id)
        covered = _covered(session, (first, second), mine)
        learned = (
            learned_by(session, mine.id, first.version),
            learned_by(session, theirs.id, second.version),
        )
    pairs = _matched(*tasks)
    differences, alone, unmeasured = [], [], []
    for task, other in pairs:
        here, there = cells[0].get(task), cells[1].get(other)
        if here is None and there is None:  # neither says anything of it
            unmeasured += [task] if task in learned[0] or other in learned[1] else []
            continue
        names = first.name, second.name
        sure = task == other and task in covered
        found = difference(registry.settings.home, task, here, there, names, covered=sure)
        differences.append(replace(found, other=other))
    matched = {task for task, _ in pairs}, {other for _, other in pairs}
    for side, own, known, found_cells in zip((first, second), tasks, matched, cells, strict=True):
        rest = [task for task in own if task not in known and task in found_cells]
        alone += [
            Alone(task=task, of=side.name, why=_lonely(side, (first, second))) for task in rest
        ]
    return Comparison(
        a=first,
        b=second,
        differences=tuple(differences),
        mean=_mean(differences),
        alone=tuple(alone),
        notes=_notes(first, second),
        common=len(pairs),
        unmeasured=tuple(unmeasured),
    )


def difference(
    home: Path,
    task: str,
    a: Found | None,
    b: Found | None,
    names: tuple[str, str],
    *,
    covered: bool = False,
) -> Difference:
    """What one task gains from a to b.

    Args:
        home: whose prediction files are read.
        task: its name.
        a: its cell at the first; None where it was not measured.
        b: its cell at the second.
        names: of the two, for the sentence.
        covered: whether the later one's certificate covers the task under this read
            (`registry.covering`), which makes the same bits a proof.
    """
    scores = None if a is None else a.score, None if b is None else b.score
    untold = Difference(
        task=task, other=task, how="none", a=scores[0], b=scores[1], change=None, why=""
    )
    if a is None or b is None:
        missing = names[0] if a is None else names[1]
        return replace(untold, why=f"not measured at {missing}")
    if (apart := why_not(a.cell, b.cell)) is not None:
        return replace(untold, why=apart)
    one_base = a.cell.base_digest == b.cell.base_digest
    if one_base and a.cell.effective_digest == b.cell.effective_digest:
        seen = Interval(0.0, 0.0, 0.0) if covered else nothing_seen(b.cell.n, CONFIDENCE)
        nothing = Score(value=0.0, low=seen.low, high=seen.high, n=b.cell.n)
        bits = "the same adapter bits on the same base, by digest"
        why = (
            f"{bits}: it answers alike, the task id given"
            if covered
            else f"{bits}; no certificate covers them under this read, so nothing is proved"
        )
        if a.cell.effective_digest is None:
            why = "the bare base both times"
        if a.cell.value != b.cell.value:
            why += "; that the scores differ is how they were measured (rows, or runtime)"
        if not covered:
            return replace(untold, how="same_bits", change=nothing, why=why)
        return replace(untold, how="proved", change=nothing, rose=0, fell=0, why=why)
    try:
        found = _paired(_Pair(home, (_identity(a.cell), _identity(b.cell)), a.cell, b.cell))
    except _NotPaired as reason:
        change = _unpaired(a, b)
        why = f"unpaired: {reason}; the two intervals are combined as if of different rows"
        return replace(untold, how="unpaired", change=change, why=why)
    why = f"{found.fell} rows fell, {found.rose} rose, of {found.value.n} compared one by one"
    return replace(
        untold, how="paired", change=found.value, rose=found.rose, fell=found.fell, why=why
    )


def cells_at(
    session: Session, sequence_id: int, version: int, read: Read, tasks: Sequence[str] | None = None
) -> dict[str, Found]:
    """The current cell of R of each task at a version; of the bare base any mode's is its own."""
    wanted = select(*COLUMNS, Evaluation.low, Evaluation.high).where(
        Evaluation.sequence_id == sequence_id,
        Evaluation.version == version,
        Evaluation.adapter_of == "",
    )
    if version != BARE_BASE:
        wanted = wanted.where(Evaluation.read == read)
    if tasks is not None:
        wanted = wanted.where(Evaluation.task.in_(tasks))
    found: dict[str, Found] = {}
    for *columns, low, high in session.execute(wanted.order_by(Evaluation.id)):
        cell = Measured._make(columns)
        known = found.get(cell.task)
        if known is None or cell.read == read or known.cell.read != read:
            found[cell.task] = Found(cell, low, high)
    return found


def _side(session: Session, named: Named, read: Read | None) -> tuple[Side, SequenceRow]:
    owner = lineage.known_sequence(session, named.sequence)
    if named.alias is not None:
        number = decided.serving(session, owner, named.alias)
        if number is None:
            raise NotFound(
                f"no version of {named.sequence!r} is {named.alias}",
                "a version that was promoted",
                f"Name one by number, e.g. {named.sequence}/1.",
            )
    elif named.version is None:
        number = decided.newest_version(session, owner)
        if number is None:
            raise NotFound(
                f"version of {named.sequence!r}", "a filed version", "`lori run` files one."
            )
    else:
        number = lineage.version_row(session, named.sequence, named.version).number
    trained = cast(Read, owner.adapter.get("read", "inherited"))
    name = f"{owner.name}, bare base" if number == BARE_BASE else f"{owner.name}/{number}"
    side = Side(
        name=name,
        sequence=owner.name,
        version=number,
        read=read or trained,
        trained=trained,
        protection=str(owner.adapter.get("protection", "disjoint")),
        base=base_name(owner.base_path),
        base_digest=owner.base_digest,
        tasks=number,
    )
    return side, owner


def _covered(session: Session, sides: tuple[Side, Side], owner: SequenceRow) -> frozenset[str]:
    """The tasks whose answers the later version's certificate covers; none of two sequences or reads."""
    a, b = sides
    if (a.sequence, a.read) != (b.sequence, b.read):
        return frozenset()
    if not covered_by(session, owner.id, max(a.version, b.version), a.read):
        return frozenset()
    return learned_by(session, owner.id, min(a.version, b.version))


def learned_by(session: Session, sequence_id: int, version: int) -> frozenset[str]:
    """The tasks a version has learned."""
    learned = select(Task.name).where(Task.sequence_id == sequence_id, Task.position <= version)
    return frozenset(session.scalars(learned))


def _cells(session: Session, sequence_id: int, side: Side) -> dict[str, Found]:
    return cells_at(session, sequence_id, side.version, side.read)


def _tests(session: Session, sequence_id: int) -> dict[str, str]:
    """Task -> digest of its test set, in order."""
    rows = session.execute(
        select(Task.name, Task.data["test"].as_string())
        .where(Task.sequence_id == sequence_id)
        .order_by(Task.position)
    )
    return {name: digest for name, digest in rows if digest}


def _matched(mine: Mapping[str, str], theirs: Mapping[str, str]) -> list[tuple[str, str]]:
    """Tasks with one test set, one to one: those of one name first, then in order."""
    pairs = {task: task for task, digest in mine.items() if theirs.get(task) == digest}
    left: dict[str, list[str]] = {}
    for other, digest in theirs.items():
        if other not in pairs:
            left.setdefault(digest, []).append(other)
    for task, digest in mine.items():
        if task not in pairs and left.get(digest):
            pairs[task] = left[digest].pop(0)
    return [(task, pairs[task]) for task in mine if task in pairs]


def _lonely(side: Side, both: tuple[Side, Side]) -> str:
    other = both[1] if side is both[0] else both[0]
    return f"{other.sequence} has no task with this test set that is not compared already"


def _notes(a: Side, b: Side) -> tuple[str, ...]:
    found = []
    if (a.name, a.read) == (b.name, b.read):
        found.append(f"Both are {a.name}: it is compared with itself, so nothing can differ.")
    if a.base_digest != b.base_digest:
        found.append("Their bases differ: a difference is that of base and adapter together.")
    if a.read != b.read:
        found.append(f"{a.name} is read {a.read}, {b.name} {b.read}: each under its own mode.")
    other = [
        f"{side.name} (trained {side.trained})"
        for side in (a, b)
        if side.read != side.trained and side.version != BARE_BASE
    ]
    if other:
        found.append(f"Read as it was not trained: {' and '.join(dict.fromkeys(other))}.")
    return tuple(found)


def _mean(differences: Sequence[Difference]) -> Score | None:
    """Over tasks, whose rows are not the same ones: independent figures."""
    changes = [each.change for each in differences if each.change is not None]
    if not changes:
        return None
    found = mean_of_parts([Interval(each.value, each.low, each.high) for each in changes])
    return Score(value=found.value, low=found.low, high=found.high, n=len(changes))


def _unpaired(a: Found, b: Found) -> Score:
    """b - a as twice the mean of b and -a, two independent figures (Newcombe's interval of a
    difference of shares is the same)."""
    parts = [
        Interval(b.cell.value, b.low, b.high),
        Interval(-a.cell.value, -a.high, -a.low),
    ]
    half = mean_of_parts(parts)
    return Score(
        value=2 * half.value,
        low=max(-1.0, 2 * half.low),
        high=min(1.0, 2 * half.high),
        n=min(a.cell.n, b.cell.n),
    )


def _identity(cell: Measured) -> tuple[object, ...]:
    return cell.key, cell.predictions_sha256, cell.n, cell.value


@lru_cache(maxsize=8192)
def _paired(pair: _Pair) -> _Change:
    """Read once: what was said of files known by their digests stays true.

    Raises:
        _NotPaired: a file is not there, not what was recorded, or has other rows.
    """
    scores = []
    for cell in (pair.a, pair.b):
        found = read_scores(pair.home, cell, f"{cell.task} at version {cell.version}")
        if isinstance(found, Fault):
            raise _NotPaired(found.why)
        scores.append(found)
    if len(scores[0]) != len(scores[1]):
        raise _NotPaired("their scores have different parts")
    parts: list[Rows] = []
    for one, other in zip(*scores, strict=True):
        rows = paired_rows(one, other)
        if rows is None:
            raise _NotPaired("they have no rows in common, or ids that repeat")
        parts.append(rows)
    whole = two_sided(parts, CONFIDENCE)
    return _Change(
        Score(
            value=whole.value, low=whole.low, high=whole.high, n=sum(len(p.before) for p in parts)
        ),
        sum(part.rose for part in parts),
        sum(part.fell for part in parts),
    )
