"""Intervals against scipy, against simulation, and against the rule of three."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lori_core.errors import BadInput, CheckFailed
from lori_core.intervals import (
    Interval,
    clopper_pearson,
    discordant_widths,
    mean_interval,
    mean_of_parts,
    paired_change,
    score_interval,
    wilson,
)

CONFIDENCES = (0.8, 0.9, 0.95, 0.99)


@st.composite
def shares(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 3000))
    return draw(st.integers(0, n)), n


@given(shares(), st.sampled_from(CONFIDENCES))
def test_wilson_is_scipys(share: tuple[int, int], confidence: float) -> None:
    found = wilson(*share, confidence)
    known = stats.binomtest(*share).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert found.low <= found.value <= found.high


@given(shares(), st.sampled_from(CONFIDENCES))
def test_clopper_pearson_is_scipys(share: tuple[int, int], confidence: float) -> None:
    found = clopper_pearson(*share, confidence)
    known = stats.binomtest(*share).proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.sampled_from(CONFIDENCES))
def test_the_mean_over_runs_has_students_interval(runs: list[float], confidence: float) -> None:
    found = mean_interval(runs, confidence)
    error = float(stats.sem(runs))
    half = float(stats.t.ppf((1 + confidence) / 2, len(runs) - 1)) * error
    assert found.value == pytest.approx(float(np.mean(runs)), abs=1e-9)
    assert found.high - found.value == pytest.approx(half, rel=1e-9, abs=1e-9)
    assert found.value - found.low == pytest.approx(half, rel=1e-9, abs=1e-9)


def test_a_cell_of_zeros_and_ones_is_a_share_and_fractions_are_bounded_by_it() -> None:
    assert score_interval([1, 0, 1, 1]) == wilson(3, 4)
    fractions = [0.7, 0.8, 0.75, 0.75]
    assert score_interval(fractions) == wilson(3.0, 4)
    error = float(stats.sem(fractions)) * float(stats.t.ppf(0.975, 3))
    assert score_interval(fractions).high - 0.75 > error  # wider than needed, never narrower


def test_the_mean_of_two_parts_is_as_wide_as_their_squares_added() -> None:
    parts = [Interval(0.8, 0.7, 0.86), Interval(0.4, 0.35, 0.5)]
    found = mean_of_parts(parts)
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.6 - math.hypot(0.1, 0.05) / 2)
    assert found.high == pytest.approx(0.6 + math.hypot(0.06, 0.1) / 2)
    one = mean_of_parts(parts[:1])
    assert (one.value, one.low, one.high) == pytest.approx((0.8, 0.7, 0.86))


def rows(n: int, rose: int, fell: int) -> tuple[list[float], list[float]]:
    """Scores before and after: `rose` rows go from 0 to 1, `fell` from 1 to 0, the others stay."""
    before = [0.0] * rose + [1.0] * fell + [1.0] * (n - rose - fell)
    after = [1.0] * rose + [0.0] * fell + [1.0] * (n - rose - fell)
    return before, after


@pytest.mark.parametrize("n", [1, 20, 100, 500, 7600])
def test_no_changed_row_still_leaves_the_rule_of_three(n: int) -> None:
    found = paired_change(*rows(n, 0, 0))
    exact = 1 - 0.05 ** (1 / n)
    assert (found.value, found.rose, found.fell, found.n) == (0.0, 0, 0, n)
    assert (found.low, found.high) == pytest.approx((-exact, exact))
    if n >= 100:
        assert found.high == pytest.approx(3 / n, rel=0.02)
    gate = paired_change(*rows(n, 0, 0), one_sided=True)
    assert gate == found
    known = stats.binomtest(0, n, alternative="less").proportion_ci(0.95, method="exact")
    assert found.high == pytest.approx(known.high)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_change_is_never_surer_than_the_exact_bounds_of_its_discordant_pairs(
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(2, 400))
    rose = data.draw(st.integers(0, n))
    fell = data.draw(st.integers(0, n - rose))
    found = paired_change(*rows(n, rose, fell))
    assert found.value == pytest.approx((rose - fell) / n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    if rose + fell:
        up = stats.binomtest(rose, n).proportion_ci(0.95, method="exact")
        down = stats.binomtest(fell, n).proportion_ci(0.95, method="exact")
        above = math.hypot(up.high - rose / n, fell / n - down.low)
        below = math.hypot(rose / n - up.low, down.high - fell / n)
        assert found.high >= min(1.0, found.value + above) - 1e-9
        assert found.low <= max(-1.0, found.value - below) + 1e-9
    assert found.high - found.low >= 2 * (1 - 0.05 ** (1 / n)) * (0 if rose + fell else 1) - 1e-12


def test_one_fallen_row_does_not_make_a_rise_less_likely_than_none_did() -> None:
    none, one = paired_change(*rows(200, 0, 0)), paired_change(*rows(200, 0, 1))
    assert one.low < none.low
    assert one.high > 0.01  # what can rise unseen in 200 rows, less the one that fell


def test_with_many_changes_the_bounds_are_those_of_the_bootstrap() -> None:
    random = np.random.default_rng(0)
    before = random.random(3000)
    after = np.clip(before + random.normal(0.02, 0.3, 3000), 0, 1)
    found = paired_change(before.tolist(), after.tolist())
    assert found.value == pytest.approx(float(np.mean(after - before)))
    known = stats.bootstrap((after - before,), np.mean, method="percentile", random_state=1)
    assert found.low <= known.confidence_interval.low + 1e-3
    assert found.high >= known.confidence_interval.high - 1e-3
    assert found.high - found.low < 0.1


def coverage(up: float, down: float, n: int, *, one_sided: bool, trials: int = 400) -> float:
    random = np.random.default_rng(3)
    hit = 0
    for _ in range(trials):
        rose, fell, _ = random.multinomial(n, [up, down, 1 - up - down])
        found = paired_change(*rows(n, int(rose), int(fell)), one_sided=one_sided)
        hit += found.low <= up - down if one_sided else found.low <= up - down <= found.high
    return hit / trials


@pytest.mark.slow
@pytest.mark.parametrize(("up", "down"), [(0.0, 0.01), (0.01, 0.03), (0.1, 0.1), (0.3, 0.05)])
def test_in_simulation_the_bounds_hold_as_often_as_they_claim(up: float, down: float) -> None:
    assert coverage(up, down, 100, one_sided=False) >= 0.93
    assert coverage(up, down, 100, one_sided=True) >= 0.93


def test_the_same_seed_gives_the_same_bounds() -> None:
    scores = rows(300, 20, 10)
    assert paired_change(*scores, seed=5) == paired_change(*scores, seed=5)


def test_swapping_before_and_after_mirrors_the_change() -> None:
    before, after = rows(150, 12, 3)
    there, back = paired_change(before, after), paired_change(after, before)
    assert (there.value, there.rose, there.fell) == (-back.value, back.fell, back.rose)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.02)


def test_a_certificate_makes_a_change_exactly_zero_and_a_changed_row_breaks_it() -> None:
    found = paired_change(*rows(50, 0, 0), proved_equal=True)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    with pytest.raises(CheckFailed, match="1 of 50 proved answers changed"):
        paired_change(*rows(50, 0, 1), proved_equal=True)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ([], [], "0 scores before"),
        ([1.0], [1.0, 0.0], "those of the same rows"),
        ([1.5], [1.0], "score 1.5"),
        ([1.0], [math.nan], "score nan"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(
    before: Sequence[float], after: Sequence[float], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        paired_change(before, after)


def test_what_is_no_share_no_confidence_and_no_mean_is_refused() -> None:
    for successes, n, confidence in ((1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(BadInput):
            wilson(successes, n, confidence)
    with pytest.raises(BadInput, match="score 2"):
        score_interval([2])
    with pytest.raises(BadInput, match="two or more"):
        mean_interval([0.5])
    with pytest.raises(BadInput, match="no parts"):
        mean_of_parts([])


def outcomes(n: int, up: float, down: float) -> dict[tuple[int, int], float]:
    """(rose, fell) -> its chance, of every outcome of n rows."""
    return {
        (rose, fell): float(
            stats.multinomial.pmf([rose, fell, n - rose - fell], n, [up, down, 1 - up - down])
        )
        for rose in range(n + 1)
        for fell in range(n + 1 - rose)
    }


@pytest.mark.parametrize("tail", [0.05, 0.005])
@pytest.mark.parametrize(("up", "down"), [(0.0, 0.1), (0.2, 0.3), (0.3, 0.4), (0.4, 0.43)])
def test_a_drop_at_the_limit_seems_within_it_no_more_often_than_the_tail_allows(
    tail: float, up: float, down: float
) -> None:
    """By enumeration of every outcome: rises and falls of the same rows exclude each other."""
    n, limit = 20, down - up
    wrong = sum(
        chance
        for (rose, fell), chance in outcomes(n, up, down).items()
        if (rose or fell) and (fell - rose) / n + discordant_widths(rose, fell, n, tail)[0] <= limit
    )
    wrong += (1 - up - down) ** n * (1 - tail ** (1 / n) <= limit)
    assert wrong <= tail


def test_scores_of_every_size_are_bounded_as_student_has_them() -> None:
    random = np.random.default_rng(4)
    before, after = random.random(12), random.random(12)
    found = paired_change(before.tolist(), after.tolist(), one_sided=True)
    known = stats.ttest_rel(after, before).confidence_interval(0.9)
    assert found.low <= known.low + 1e-9
    assert found.high >= known.high - 1e-9
    single = paired_change([0.5], [0.6], one_sided=True)
    assert (single.low, single.high) == (-1.0, 1.0)
