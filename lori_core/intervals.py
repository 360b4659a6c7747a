"""How sure a number is: intervals of a score, of a change on the same rows, of a mean over runs.

Everything is deterministic (a bootstrap takes its seed) and needs numpy alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from lori_core.errors import BadInput, CheckFailed

Number = float | int

_RESAMPLES = 4000
_BLOCK = 1 << 22  # counts drawn at a time, so that many different scores fit in memory


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds that hold it at some confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Change:
    """What changed between two scorings of the same rows: mean of after - before, with bounds."""

    value: float
    low: float
    high: float

    n: int
    """Rows compared."""

    rose: int
    """Rows that score more than before."""

    fell: int
    """Rows that score less than before."""


def wilson(successes: Number, n: int, confidence: Number = 0.95) -> Interval:
    """The Wilson score interval of a share: `successes` of `n`.

    `successes` may be a sum of scores in [0, 1]. No such scores vary more than zeros and ones of the
    same mean do, so the interval is then wider than needed, never narrower.

    Raises:
        BadInput: n below 1, successes outside [0, n], confidence outside (0, 1).

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    >>> found = wilson(8, 10)
    >>> round(found.low, 4), found.value, round(found.high, 4)
    (0.4902, 0.8, 0.9433)
    """
    _check_share(successes, n, confidence)
    p = successes / n
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(p, min(low, p), max(high, p))


def clopper_pearson(successes: int, n: int, confidence: Number = 0.95) -> Interval:
    """The exact interval of a share: each tail holds at most (1 - confidence) / 2.

    Raises:
        BadInput: as `wilson`.

    Source: Clopper & Pearson, "The Use of Confidence or Fiducial Limits", 1934.
    """
    _check_share(successes, n, confidence)
    tail = (1 - confidence) / 2
    return Interval(
        successes / n, _exact_low(successes, n, tail), 1 - _exact_low(n - successes, n, tail)
    )


def score_interval(scores: Sequence[Number], confidence: Number = 0.95) -> Interval:
    """The interval of a cell: Wilson on the mean of its rows' scores, each in [0, 1].

    Raises:
        BadInput: no score, or one outside [0, 1].
    """
    for score in scores:
        if not 0 <= score <= 1:
            raise BadInput(f"score {score!r}", "a number from 0 to 1")
    return wilson(math.fsum(scores), len(scores), confidence)


def mean_of_parts(parts: Sequence[Interval]) -> Interval:
    """The mean of independent figures: deviations are squared, added, rooted (MOVER).

    Raises:
        BadInput: no part.

    Source: Zou & Donner, "Construction of confidence limits about effect measures", 2008.
    """
    if not parts:
        raise BadInput("a mean of no parts", "one or more")
    value = math.fsum(part.value for part in parts) / len(parts)
    below = math.hypot(*(part.value - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.value for part in parts)) / len(parts)
    return Interval(value, value - below, value + above)


def mean_interval(values: Sequence[Number], confidence: Number = 0.95) -> Interval:
    """Student's t interval of the mean over runs (seeds, or orders: keep the two apart).

    Raises:
        BadInput: fewer than two runs, or confidence outside (0, 1).

    Source: Student, "The Probable Error of a Mean", 1908.
    """
    n = len(values)
    if n < 2:
        raise BadInput(f"an interval over {n} runs", "two or more", "Run more seeds.")
    _check_confidence(confidence)
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = _t_quantile((1 + confidence) / 2, n - 1) * error
    return Interval(mean, mean - half, mean + half)


def paired_change(
    before: Sequence[Number],
    after: Sequence[Number],
    *,
    confidence: Number = 0.95,
    seed: int = 0,
    one_sided: bool = False,
    proved_equal: bool = False,
) -> Change:
    """The mean change of the same rows' scores, with bounds that no small sample can make too sure.

    The bounds are those of a paired bootstrap (percentiles of 4,000 resamples of the rows), widened
    where needed to the exact bounds of the discordant pairs: rises and falls have a Clopper-Pearson
    interval each, and the two are combined by MOVER, with the covariance they have (a row that rose
    did not fall) at its largest. Scores between 0 and 1 vary in size too: Student's bounds are then
    kept as well, which few rows widen as a bootstrap of them cannot. Where no row changed, the bounds are
    ±(1 - (1 - confidence)^(1/n)): the exact figure of which 3/n is the rounded form (2.996/n at
    95 %), for the chance that some row would.

    Args:
        before: score of each row in [0, 1], in row order.
        after: score of the same rows, in the same order.
        confidence: of the two bounds together; with `one_sided`, of each alone.
        seed: of the resamples.
        one_sided: bounds for a gate, which asks about one side.
        proved_equal: a valid G2 certificate says that the function did not change: the change is
            exactly 0 with zero width.

    Raises:
        BadInput: no rows, unequal lengths, a score outside [0, 1], confidence outside (0, 1).
        CheckFailed: `proved_equal`, and yet a row's score changed.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, 13.3; Newcombe, "Improved
    confidence intervals for the difference between binomial proportions based on paired data",
    1998; Hanley & Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983.
    """
    n = len(before)
    if n < 1 or len(after) != n:
        raise BadInput(f"{n} scores before and {len(after)} after", "those of the same rows")
    _check_confidence(confidence)
    for score in (*before, *after):
        if not 0 <= score <= 1:
            raise BadInput(f"score {score!r}", "a number from 0 to 1")
    moves = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    rose, fell = int((moves > 0).sum()), int((moves < 0).sum())
    if proved_equal:
        if rose or fell:
            raise CheckFailed("certificate", f"{rose + fell} of {n} proved answers changed")
        return Change(0.0, 0.0, 0.0, n, 0, 0)
    value = math.fsum(moves) / n
    if not rose and not fell:
        bound = 1 - (1 - confidence) ** (1 / n)
        return Change(value, -bound, bound, n, 0, 0)
    tail = 1 - confidence if one_sided else (1 - confidence) / 2
    means = _resampled_means(moves, seed)
    low, high = (float(q) for q in np.quantile(means, (tail, 1 - tail)))
    below, above = discordant_widths(rose, fell, n, tail)
    if not np.isin(moves, (-1.0, 0.0, 1.0)).all():
        sized = _student_width(moves, tail)
        below, above = max(below, sized), max(above, sized)
    return Change(
        value,
        max(-1.0, min(low, value - below)),
        min(1.0, max(high, value + above)),
        n,
        rose,
        fell,
    )


def discordant_widths(rose: Number, fell: Number, n: int, tail: float) -> tuple[float, float]:
    """How far a change may lie below and above what was seen, by the exact bounds of its parts.

    Args:
        rose: rows that score more than before (a planned number may be a fraction).
        fell: rows that score less.
        n: rows in all.
        tail: the chance left on each side.
    """
    up, down = rose / n, fell / n
    up_low, up_high = _exact_low(rose, n, tail), 1 - _exact_low(n - rose, n, tail)
    down_low, down_high = _exact_low(fell, n, tail), 1 - _exact_low(n - fell, n, tail)
    together = _exclusion(up_high, down_high)

    def width(one: float, other: float) -> float:
        return math.sqrt(one * one + other * other + 2 * together * one * other)

    return width(up - up_low, down_high - down), width(up_high - up, down - down_low)


def _exclusion(up: float, down: float) -> float:
    """How strongly two shares of the same rows exclude each other: minus their correlation.

    Taken at the upper bounds of both shares. With it, enumeration of every outcome of 10 to 150
    rows finds no error more often than the tail allows, down to a tail of 0.001; without it, up to
    twice as often.
    """
    if up + down >= 1:
        return 1.0
    return math.sqrt(up * down / ((1 - up) * (1 - down)))


def _student_width(moves: np.ndarray, tail: float) -> float:
    """Half the width of Student's interval; all of [-1, 1] for a single row."""
    n = len(moves)
    if n < 2:
        return 2.0
    return _t_quantile(1 - tail, n - 1) * float(moves.std(ddof=1)) / math.sqrt(n)


def _resampled_means(moves: np.ndarray, seed: int) -> np.ndarray:
    """Means of resamples of the rows, drawn as counts of the moves that occur."""
    values, counts = np.unique(moves, return_counts=True)
    random = np.random.Generator(np.random.Philox(seed))
    block = max(1, _BLOCK // len(values))
    drawn = [
        random.multinomial(len(moves), counts / len(moves), size=min(block, _RESAMPLES - start))
        @ values
        for start in range(0, _RESAMPLES, block)
    ]
    means: np.ndarray = np.concatenate(drawn) / len(moves)
    return means


@lru_cache(maxsize=1 << 16)
def _exact_low(successes: Number, n: int, tail: float) -> float:
    """The p at which `successes` or more of n still happen with probability `tail`; 0 for none."""
    if successes == 0:
        return 0.0
    a, b = float(successes), float(n - successes + 1)
    return _solve(lambda p: _beta_cdf(p, a, b), tail)


def _t_quantile(level: float, degrees: int) -> float:
    """The t at which Student's distribution reaches `level` > 0.5."""
    # For t > 0, P(T > t) is half of the Beta(degrees/2, 1/2) distribution at degrees/(degrees + t²).
    x = _solve(lambda p: _beta_cdf(p, degrees / 2, 0.5), 2 * (1 - level))
    return math.sqrt(degrees * (1 - x) / x)


def _solve(rising: Callable[[float], float], level: float) -> float:
    """The p in [0, 1] at which a rising function reaches `level`, to the last bits."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if rising(middle) < level:
            low = middle
        else:
            high = middle
    return high


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction.

    Source: Abramowitz & Stegun, "Handbook of Mathematical Functions", 26.5.8, evaluated by Lentz's
    method (Applied Optics 15, 1976).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (
        a + b + 2
    ):  # where the fraction converges slowly, use I_x(a,b) = 1 - I_1-x(b,a)
        return 1 - _beta_cdf(1 - x, b, a)
    scale = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 0.0
    fraction = 1.0
    for step in range(10_000):
        half, odd = divmod(step, 2)
        if step == 0:
            term = 1.0
        elif odd:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        d = 1 / ((1 + term * d) or tiny)
        c = (1 + term / c) or tiny
        fraction *= c * d
        if step > 2 and abs(c * d - 1) < 1e-15:
            break
    return scale * (fraction - 1) / a


def _check_share(successes: Number, n: int, confidence: Number) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(f"{successes} of {n}", "a share of one row or more")
    _check_confidence(confidence)


def _check_confidence(confidence: Number) -> None:
    if not 0 < confidence < 1:
        raise BadInput(f"confidence {confidence}", "above 0 and below 1")
