"""The test rows whose answer changed between two versions of one task: how many, and which.

Counts come from the predictions that were kept with the two cells. What a row asked and what was
expected comes from the snapshot of its task's rows. What is not there any more is said, never guessed.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from sqlalchemy import select

from lori_core.config import Read
from lori_core.digests import sha256_bytes
from lori_core.errors import BadInput, CheckFailed, NotFound
from lori_core.prompts import Example
from registry import lineage
from registry.comparing import Found, cells_at, difference
from registry.covering import covered_by
from registry.models import Task
from registry.records import TaskRecord
from registry.snapshots import rows_asked
from registry.store import Registry

Kind = Literal["changed", "gained", "lost"]
"""Every row whose answer is another; those that score more; those that score less."""

Role = Literal["test", "over_refusal"]

PAGE = 50
LONGEST = 4000
"""Characters shown of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCounts:
    """Rows by what became of their answer."""

    n: int
    """Rows that both answered."""
    changed: int
    """Answers that read otherwise."""
    gained: int
    """Of those, how many score more."""
    lost: int
    """Of those, how many score less."""
    proved: bool = False
    """Nothing was compared: the same adapter answers alike, by a certificate."""

    def of(self, kind: Kind) -> int:
        """Rows of a kind."""
        return {"changed": self.changed, "gained": self.gained, "lost": self.lost}[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAnswer:
    """One row, before and after."""

    id: str
    role: Role
    """`over_refusal`: a harmless row, which should be answered."""
    prompt: str | None
    """What it asked, whole; None where the snapshot cannot tell."""
    expected: str | None
    before: str
    after: str
    score_before: float
    score_after: float
    shortened: bool
    """A text is longer than is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAnswers:
    """A page of rows whose answer changed, or the counts alone."""

    sequence: str
    task: str
    read: Read
    version: int
    before: int
    """The earlier version; 0 is the bare base."""
    kind: Kind
    page: int
    size: int
    total: int
    """Rows of this kind."""
    counts: AnswerCounts | None
    why: str | None
    """Why there are no counts."""
    rows: tuple[ChangedAnswer, ...] | None
    """None: who asks may not see rows."""
    rows_why: str | None
    """Why prompts are missing."""
    cut: int
    """Rows whose input was cut before the model read it, by its cell; prompts are shown whole."""


@dataclass(frozen=True, slots=True)
class _Answer:
    id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class _Pair:
    row: int
    """Place of the row after."""
    before: _Answer
    after: _Answer

    @property
    def kind(self) -> Kind:
        if self.after.score == self.before.score:
            return "changed"
        return "gained" if self.after.score > self.before.score else "lost"


@dataclass(frozen=True, slots=True)
class _File:
    """A file of predictions, known by its digest."""

    home: Path
    path: str
    sha256: str
    harmful: int | None
    """Rows of its first part; None where it has one part."""
    name: str = field(compare=False)


class _NotKept(Exception):
    """Why answers cannot be compared."""


def answer_counts(
    home: Path,
    before: Found | None,
    after: Found | None,
    names: tuple[str, str],
    *,
    covered: bool,
) -> AnswerCounts | str:
    """How many answers changed from one cell to another; a sentence where that cannot be told.

    Args:
        home: whose prediction files are read.
        before: the earlier cell; None where it was not measured.
        after: the later one.
        names: what to call the two.
        covered: whether the later one's certificate covers the task under this read; the same bits
            without that are compared like any others.
    """
    task = after.cell.task if after else ""
    found = difference(home, task, before, after, names, covered=covered)
    if before is None or after is None or found.how == "none":
        return found.why
    if found.how == "proved":
        return AnswerCounts(n=after.cell.n, changed=0, gained=0, lost=0, proved=True)
    try:
        return _counted(_file(home, before, names[0]), _file(home, after, names[1]))
    except _NotKept as reason:
        return str(reason)


def changed_answers(
    registry: Registry,
    sequence: str,
    version: int,
    task: str,
    *,
    read: Read | None = None,
    before: int | None = None,
    kind: Kind = "changed",
    page: int = 1,
    rows: bool,
) -> ChangedAnswers:
    """The rows of a task whose answer at a version is not what it was at an earlier one.

    Args:
        registry: where both are recorded.
        sequence: its name.
        version: the later one.
        task: whose test rows.
        read: the mode both are looked at under; None is the one the sequence is trained under.
        before: the earlier version; None is the one before, and the bare base for the task that was
            learned at `version`.
        kind: which of them.
        page: from 1.
        rows: whether who asks may see rows. If not, the counts alone come back.

    Raises:
        NotFound: there is no such sequence, version or task.
        BadInput: `before` is not earlier.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        lineage.version_row(session, sequence, version)
        found = session.scalar(select(Task).where(Task.sequence_id == owner.id, Task.name == task))
        if found is None:
            raise NotFound(f"task {task!r} of {sequence!r}", "one of its tasks")
        record = lineage.task_record(found)
        mode = read or cast(Read, owner.adapter.get("read", "inherited"))
        earlier = (0 if record.position == version else version - 1) if before is None else before
        if not 0 <= earlier < version:
            raise BadInput(f"before {earlier}", f"a version from 0 to {version - 1}")
        cells = [
            cells_at(session, owner.id, each, mode, [task]).get(task) for each in (earlier, version)
        ]
        covered = record.position <= earlier and covered_by(session, owner.id, version, mode)
    names = _named(sequence, earlier), _named(sequence, version)
    home = registry.settings.home
    counts = answer_counts(home, cells[0], cells[1], names, covered=covered)
    total = 0 if isinstance(counts, str) else counts.of(kind)
    view = ChangedAnswers(
        sequence=sequence,
        task=task,
        read=mode,
        version=version,
        before=earlier,
        kind=kind,
        page=min(page, max(1, -(-total // PAGE))),
        size=PAGE,
        total=total,
        counts=None if isinstance(counts, str) else counts,
        why=counts if isinstance(counts, str) else None,
        rows=() if rows else None,
        rows_why=None,
        cut=0 if cells[1] is None else _cut(cells[1]),
    )
    if not rows or isinstance(counts, str) or counts.proved or cells[0] is None or cells[1] is None:
        return view
    return _with_rows(view, home, record, cells[0], cells[1])


def _with_rows(
    view: ChangedAnswers, home: Path, task: TaskRecord, before: Found, after: Found
) -> ChangedAnswers:
    one = _file(home, before, _named(view.sequence, view.before))
    other = _file(home, after, _named(view.sequence, view.version))
    wanted = [
        pair
        for pair in _changed(_pairs(_answers(one), _answers(other), one.harmful, other.harmful))
        if view.kind in ("changed", pair.kind)
    ]
    shown = wanted[(view.page - 1) * view.size : view.page * view.size]
    asked: dict[Role, Sequence[Example]] = {}
    why = None
    for role in _roles(shown, other.harmful):
        try:
            asked[role] = rows_asked(home, task, role)
        except CheckFailed as error:
            why = f"Prompts and expected answers are not shown: {error.finding}."
    return replace(
        view,
        rows=tuple(_row(pair, other.harmful, asked) for pair in shown),
        rows_why=why,
    )


def _row(
    pair: _Pair, harmful: int | None, asked: Mapping[Role, Sequence[Example]]
) -> ChangedAnswer:
    role: Role = "test" if harmful is None or pair.row < harmful else "over_refusal"
    place = pair.row if role == "test" or harmful is None else pair.row - harmful
    known = asked.get(role, ())
    # Predictions are in the order of the rows; an id that is another's would be a guess.
    example = known[place] if place < len(known) and known[place].id == pair.after.id else None
    texts = [
        None if example is None else example.prompt,
        None if example is None else example.completion,
        pair.before.text,
        pair.after.text,
    ]
    prompt, expected, before, after = (None if t is None else t[:LONGEST] for t in texts)
    return ChangedAnswer(
        id=pair.after.id,
        role=role,
        prompt=prompt,
        expected=expected,
        before=before or "",
        after=after or "",
        score_before=pair.before.score,
        score_after=pair.after.score,
        shortened=any(text is not None and len(text) > LONGEST for text in texts),
    )


def _roles(pairs: Sequence[_Pair], harmful: int | None) -> tuple[Role, ...]:
    roles: dict[Role, None] = {}
    for pair in pairs:
        roles["test" if harmful is None or pair.row < harmful else "over_refusal"] = None
    return tuple(roles)


@lru_cache(maxsize=8192)
def _counted(before: _File, after: _File) -> AnswerCounts:
    """Read once: what was said of files known by their digests stays true."""
    pairs = _pairs(_answers(before), _answers(after), before.harmful, after.harmful)
    kinds = Counter(pair.kind for pair in _changed(pairs))
    return AnswerCounts(
        n=len(pairs), changed=kinds.total(), gained=kinds["gained"], lost=kinds["lost"]
    )


def _changed(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Pairs whose text or score is another: samples beside the first may change a score alone."""
    return [
        pair
        for pair in pairs
        if (pair.before.text, pair.before.score) != (pair.after.text, pair.after.score)
    ]


def _pairs(
    before: Sequence[_Answer],
    after: Sequence[_Answer],
    harmful_before: int | None,
    harmful_after: int | None,
) -> list[_Pair]:
    """The rows that both answered, by place where the ids agree, else by id; parts apart."""
    ends = (harmful_before or len(before), harmful_after or len(after))
    first = _matched(before[: ends[0]], after[: ends[1]], 0)
    return first + _matched(before[ends[0] :], after[ends[1] :], ends[1])


def _matched(before: Sequence[_Answer], after: Sequence[_Answer], start: int) -> list[_Pair]:
    if [each.id for each in before] == [each.id for each in after]:
        return [
            _Pair(start + row, *both) for row, both in enumerate(zip(before, after, strict=True))
        ]
    for side in (before, after):
        if max(Counter(each.id for each in side).values(), default=0) > 1:
            raise _NotKept("the two have other rows, with ids that repeat")
    known = {each.id: each for each in before}
    return [
        _Pair(start + row, known[each.id], each)
        for row, each in enumerate(after)
        if each.id in known
    ]


def _answers(file: _File) -> list[_Answer]:
    path = file.home / file.path
    if not path.is_file():
        raise _NotKept(f"the answers at {file.name} are gone ({file.path})")
    data = path.read_bytes()
    if sha256_bytes(data) != file.sha256:
        raise _NotKept(f"the answers at {file.name} are not those that were recorded")
    found = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row = json.loads(line)
            answer = _Answer(str(row["id"]), str(row["prediction"]), float(row["score"]))
        except (ValueError, KeyError, TypeError) as error:
            raise _NotKept(f"row {number} of the answers at {file.name} holds none") from error
        if not math.isfinite(answer.score):
            raise _NotKept(f"row {number} of the answers at {file.name} has no score")
        found.append(answer)
    return found


def _file(home: Path, cell: Found, name: str) -> _File:
    path, digest = cell.cell.predictions, cell.cell.predictions_sha256
    if path is None or digest is None:
        raise _NotKept(f"the answers at {name} were not kept")
    refused = cell.cell.parts.get("refused")
    harmful = refused.get("n") if isinstance(refused, Mapping) else None
    return _File(home, path, digest, harmful if isinstance(harmful, int) else None, name)


def _cut(cell: Found) -> int:
    cut = cell.cell.parts.get("cut")
    return cut if isinstance(cut, int) else 0


def _named(sequence: str, version: int) -> str:
    return f"{sequence}/{version}" if version else "the bare base"
