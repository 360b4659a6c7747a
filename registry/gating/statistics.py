"""Is it worse than allowed? One-sided paired tests on per-row scores, that hold together (Holm).

Every question is about a drop: the mean of before - after on the same rows. It passes when the upper
bound of the drop is within the limit; it fails when the drop that was seen is beyond the limit
already (the lower bound beyond it implies that); between the two lies too little evidence.

A family's questions share one chance of error: with m of them open, each is asked at
(1 - confidence) / m; those that pass leave, and the rest are asked again at a share that is larger.
Questions about the same two measurements are one question. What is proved equal needs no share.

Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

from lori_core.intervals import Interval, discordant_widths, mean_of_parts, paired_change

EPSILON = 1e-12
"""Rounding: a drop of 3 rows in 100 is 0.03, not a bit more."""

_ANY = 0.5
"""What is proved has no width at any share of error."""

MOST_ROWS = 10**9
"""Where the search for the rows a question would need gives up."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The same rows' scores, before and after."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def fell(self) -> int:
        """Rows that score less than before."""
        return sum(b > a for b, a in zip(self.before, self.after, strict=True))

    @property
    def rose(self) -> int:
        """Rows that score more than before."""
        return sum(b < a for b, a in zip(self.before, self.after, strict=True))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two measurements of one task. Its score is the mean over its parts' (`refusal` has two)."""

    keys: tuple[str, str]
    """Of the two cells: what tells one comparison from another."""
    parts: tuple[Rows, ...]

    @property
    def n(self) -> int:
        """Rows compared."""
        return sum(len(part.before) for part in self.parts)

    @property
    def before(self) -> float:
        """Score before."""
        return math.fsum(_mean(part.before) for part in self.parts) / len(self.parts)

    @property
    def after(self) -> float:
        """Score after."""
        return math.fsum(_mean(part.after) for part in self.parts) / len(self.parts)

    def drop(self, tail: float) -> Interval:
        """The drop, with the bounds that each hold with chance 1 - tail."""
        return _drop(self, tail)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The same function on the same rows, by digest: the drop is exactly 0, and no row is read."""

    keys: tuple[str, str]
    n: int
    before: float
    after: float

    @property
    def parts(self) -> tuple[Rows, ...]:
        """No rows: none has to be compared."""
        return ()

    def drop(self, tail: float) -> Interval:
        """Nothing, with certainty."""
        return _NOTHING


_NOTHING = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Question:
    """Has nothing dropped by more than `limit`, in any of these comparisons?"""

    comparisons: tuple[Comparison | Unchanged, ...]
    limit: float

    @property
    def proved(self) -> bool:
        """Whether it needs no statistics."""
        return all(isinstance(each, Unchanged) for each in self.comparisons)

    def worst(self, tail: float) -> tuple[Comparison | Unchanged, Interval]:
        """The comparison whose bound is highest: where it is within the limit, all are."""
        asked = [(comparison, comparison.drop(tail)) for comparison in self.comparisons]
        return max(asked, key=lambda each: each[1].high)

    def within(self, tail: float) -> bool:
        """Whether every bound is within the limit. Not a number is within none."""
        return all(
            comparison.drop(tail).high <= self.limit + EPSILON for comparison in self.comparisons
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question."""

    verdict: Literal["pass", "fail", "underpowered"]
    drop: float
    """The largest that was seen."""
    bound: float
    """The highest upper bound, at the share of error the question had."""
    tail: float
    """That share; 0 for what is proved."""
    comparison: Comparison | Unchanged
    """The one with that bound."""


def answer(questions: Sequence[Question], confidence: float, *, lost: int = 0) -> list[Answer]:
    """Answer a family of questions; all its passes are right with chance `confidence` or more.

    Args:
        questions: of the family. None may be empty of comparisons.
        confidence: of the family.
        lost: questions of the family that cannot be asked (their evidence is missing): they keep
            their share of the error.
    """
    tails = {each: 0.0 for each, question in enumerate(questions) if question.proved}
    passed = {each for each in tails if questions[each].within(_ANY)}
    waiting = [each for each in range(len(questions)) if each not in tails]
    while waiting:
        same = {_identity(questions[each]) for each in waiting}
        tail = (1 - confidence) / (len(same) + lost)
        tails.update(dict.fromkeys(waiting, tail))
        right = [each for each in waiting if questions[each].within(tail)]
        if not right:
            break
        passed.update(right)
        waiting = [each for each in waiting if each not in right]
    return [
        _answer(question, tails[each], passed=each in passed)
        for each, question in enumerate(questions)
    ]


def rows_to_tell(question: Question, given: Answer) -> int | None:
    """The rows an underpowered question would take, if they went on as these did.

    None for an answer that was given, and where no number of rows would do (or none below a billion).
    """
    if given.verdict != "underpowered":
        return None
    needed = [
        rows_needed(each, question.limit, given.tail)
        for each in question.comparisons
        if not each.drop(given.tail).high <= question.limit + EPSILON
    ]
    return None if None in needed else max(rows for rows in needed if rows is not None)


def rows_needed(comparison: Comparison | Unchanged, limit: float, tail: float) -> int | None:
    """The rows at which a drop as it was seen would be bounded by `limit`; None if it never is."""
    if isinstance(comparison, Unchanged):
        return None  # what is exact does not change with the rows
    seen = comparison.drop(tail).value
    if not seen < limit:
        return None
    counts = [(part.rose, part.fell, len(part.before)) for part in comparison.parts]
    spread = [_spread(part) for part in comparison.parts]
    z = NormalDist().inv_cdf(1 - tail)

    def within(times: float) -> bool:
        widths = []
        for (rose, fell, n), deviation in zip(counts, spread, strict=True):
            rows = max(1, math.ceil(n * times))
            if rose + fell == 0:
                widths.append(1 - tail ** (1 / rows))
            else:
                exact, _ = discordant_widths(rose * rows / n, fell * rows / n, rows, tail)
                widths.append(max(exact, z * deviation / math.sqrt(rows)))
        return seen + math.hypot(*widths) / len(widths) <= limit

    n = comparison.n
    high = 1.0
    while not within(high):
        high *= 2
        if high * n > MOST_ROWS:
            return None
    low = high / 2 if high > 1 else 0.0
    while math.ceil(high * n) - math.ceil(low * n) > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return math.ceil(high * n)


def two_sided(parts: Sequence[Rows], confidence: float) -> Interval:
    """The change of the same rows' scores with both its bounds, as pages tell it; a mean over parts."""
    found = [paired_change(part.before, part.after, confidence=confidence) for part in parts]
    each = [Interval(part.value, part.low, part.high) for part in found]
    return each[0] if len(each) == 1 else mean_of_parts(each)


def nothing_seen(n: int, confidence: float) -> Interval:
    """No change of n rows, without a proof: as sure as so many rows make it."""
    none = (0.0,) * max(n, 1)
    return two_sided([Rows(none, none)], confidence)


@lru_cache(maxsize=4096)
def _drop(comparison: Comparison, tail: float) -> Interval:
    parts = []
    for part in comparison.parts:
        found = paired_change(part.before, part.after, confidence=1 - tail, one_sided=True)
        parts.append(Interval(-found.value, -found.high, -found.low))
    return parts[0] if len(parts) == 1 else mean_of_parts(parts)


def _answer(question: Question, tail: float, *, passed: bool) -> Answer:
    tried = tail or _ANY
    comparison, found = question.worst(tried)
    drop = max(each.drop(tried).value for each in question.comparisons)
    if passed:
        return Answer("pass", drop, found.high, tail, comparison)
    beyond = not drop <= question.limit + EPSILON
    return Answer("fail" if beyond else "underpowered", drop, found.high, tail, comparison)


def _identity(question: Question) -> tuple[object, ...]:
    return (question.limit, frozenset(each.keys for each in question.comparisons))


def _mean(scores: tuple[float, ...]) -> float:
    return math.fsum(scores) / len(scores)


def _spread(rows: Rows) -> float:
    moves = [b - a for b, a in zip(rows.before, rows.after, strict=True)]
    mean = math.fsum(moves) / len(moves)
    return math.sqrt(math.fsum((move - mean) ** 2 for move in moves) / len(moves))
