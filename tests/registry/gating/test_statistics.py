import itertools
import math

import numpy as np
import pytest
from scipy import stats

from registry.gating.statistics import (
    Comparison,
    Question,
    Rows,
    Unchanged,
    answer,
    rows_needed,
)


def compared(n: int, rose: int, fell: int, key: str = "") -> Comparison:
    same = n - rose - fell
    before = (0.0,) * rose + (1.0,) * fell + (1.0,) * same
    after = (1.0,) * rose + (0.0,) * fell + (1.0,) * same
    return Comparison((key or f"{n}-{rose}-{fell}", "after"), (Rows(before, after),))


def drawn(random: np.random.Generator, n: int, up: float, down: float, key: str) -> Comparison:
    rose, fell, _ = random.multinomial(n, [up, down, 1 - up - down])
    return compared(n, int(rose), int(fell), key)


def asked(comparison: Comparison | Unchanged, limit: float = 0.03) -> Question:
    return Question((comparison,), limit)


def verdicts(questions: list[Question], confidence: float = 0.95) -> list[str]:
    return [each.verdict for each in answer(questions, confidence)]


# Pass, fail, underpowered


@pytest.mark.parametrize(
    ("n", "rose", "fell", "verdict"),
    [
        (99, 0, 0, "pass"),  # 1 - 0.05^(1/99) is within 0.03
        (98, 0, 0, "underpowered"),
        (1, 0, 0, "underpowered"),
        (1, 1, 0, "underpowered"),
        (1, 0, 1, "fail"),
        (1000, 5, 10, "pass"),
        (1000, 0, 29, "underpowered"),  # seen within the limit, not surely so
        (1000, 0, 30, "underpowered"),  # on the limit: as many as are allowed, and no more
        (1000, 0, 31, "fail"),
        (100, 50, 50, "underpowered"),
        (100, 100, 0, "pass"),
        (100, 0, 100, "fail"),
    ],
)
def test_a_drop_passes_when_it_is_bounded_and_fails_when_it_was_seen(
    n: int, rose: int, fell: int, verdict: str
) -> None:
    assert verdicts([asked(compared(n, rose, fell))]) == [verdict]


def test_a_drop_that_is_surely_beyond_the_limit_is_never_underpowered() -> None:
    for n, rose, fell in itertools.product((5, 50), (0, 2), (0, 1, 3)):
        comparison = compared(n, rose, fell)
        surely = comparison.drop(0.05).low > 0.03
        assert not surely or verdicts([asked(comparison)]) == ["fail"]


def test_what_is_proved_equal_passes_at_any_limit_of_zero_or_more() -> None:
    proved = Unchanged(("a", "b"), 1, 1.0, 1.0)
    (given,) = answer([asked(proved, 0.0)], 0.95)
    assert (given.verdict, given.drop, given.bound) == ("pass", 0.0, 0.0)
    assert verdicts([asked(proved, -0.1)]) == ["fail"]  # nothing was learned, and a gain is asked


def test_what_is_not_a_number_passes_nothing() -> None:
    assert verdicts([asked(compared(1000, 0, 0), math.nan)]) == ["fail"]


def test_several_comparisons_of_one_question_must_all_be_within_the_limit() -> None:
    fine, bad = compared(1000, 5, 5), compared(1000, 0, 100)
    assert verdicts([Question((fine, bad), 0.03)]) == ["fail"]
    (given,) = answer([Question((fine, bad), 0.03)], 0.95)
    assert given.comparison == bad
    assert given.drop == pytest.approx(0.1)


def test_both_parts_weigh_the_same_whatever_their_size() -> None:
    parts = (compared(1000, 0, 0).parts[0], compared(10, 0, 10).parts[0])
    found = Comparison(("a", "b"), parts)
    assert found.drop(0.05).value == pytest.approx(0.5)
    assert (found.n, found.before, found.after) == (1010, 1.0, 0.5)


# Holm


def p_value(comparison: Comparison, limit: float) -> float:
    """The smallest level at which the comparison passes, by bisection on the bound itself."""
    low, high = 1e-6, 0.5
    if comparison.drop(high).high > limit:
        return 1.0
    if comparison.drop(low).high <= limit:
        return low
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if comparison.drop(middle).high <= limit else (middle, high)
    return high


def holm(levels: list[float], alpha: float) -> set[int]:
    """Holm as the paper has it, on p values."""
    order = sorted(range(len(levels)), key=levels.__getitem__)
    passed: set[int] = set()
    for rank, each in enumerate(order):
        if levels[each] > alpha / (len(levels) - rank):
            break
        passed.add(each)
    return passed


def test_a_family_is_answered_as_holm_has_it_on_p_values() -> None:
    random = np.random.default_rng(5)
    for _ in range(8):
        family = [
            drawn(random, int(random.integers(80, 400)), 0.01, random.uniform(0, 0.04), str(i))
            for i in range(5)
        ]
        expected = holm([p_value(each, 0.03) for each in family], 0.05)
        found = verdicts([asked(each) for each in family])
        assert {i for i, verdict in enumerate(found) if verdict == "pass"} == expected


def test_one_question_asked_twice_is_one_question() -> None:
    once = compared(99, 0, 0, "same")
    assert verdicts([asked(once)] * 4) == ["pass"] * 4
    assert verdicts([asked(compared(99, 0, 0, str(i))) for i in range(4)]) == ["underpowered"] * 4


def test_what_is_proved_takes_no_share_and_lost_evidence_keeps_its_own() -> None:
    proved = Unchanged(("p", "q"), 1, 1.0, 1.0)
    alone = asked(compared(99, 0, 0))
    assert verdicts([asked(proved), asked(proved), alone]) == ["pass"] * 3
    assert [each.verdict for each in answer([alone], 0.95, lost=1)] == ["underpowered"]
    assert answer([], 0.95) == []


ALPHA = 0.05
FAMILY = 6


def errors(
    trials: int, n: int, up: float, down: float, *, good: int = 0, together: bool = True
) -> int:
    """How often, of `trials`, a drop that is exactly the limit passes somewhere in a family."""
    random = np.random.default_rng(11)
    limit = down - up
    wrong = 0
    for _ in range(trials):
        bad = [asked(drawn(random, n, up, down, f"bad{i}"), limit) for i in range(FAMILY - good)]
        fine = [asked(drawn(random, n, 0.05, 0.0, f"ok{i}"), limit) for i in range(good)]
        if together:
            found = verdicts([*bad, *fine], 1 - ALPHA)[: len(bad)]
        else:
            found = [verdicts([each], 1 - ALPHA)[0] for each in bad]
        wrong += "pass" in found
    return wrong


def most(trials: int) -> int:
    """The errors that a family which errs in ALPHA of its uses stays within, 999 times in 1000."""
    return int(stats.binom.ppf(0.999, trials, ALPHA))


def test_over_many_null_families_one_wrong_pass_is_as_rare_as_it_says() -> None:
    assert errors(80, 200, 0.02, 0.05) <= most(80)


def test_asked_one_by_one_the_same_families_err_more_often() -> None:
    """The control: this test can see an error that is not held."""
    assert errors(80, 200, 0.02, 0.05, together=False) > most(80)


@pytest.mark.slow
@pytest.mark.parametrize("good", [0, 3])
@pytest.mark.parametrize(
    ("n", "up", "down"), [(60, 0.1, 0.13), (200, 0.02, 0.05), (150, 0.0, 0.03), (40, 0.3, 0.4)]
)
def test_the_family_wise_error_holds_for_rare_and_frequent_changes(
    n: int, up: float, down: float, good: int
) -> None:
    assert errors(200, n, up, down, good=good) <= most(200)


# How many rows


@pytest.mark.parametrize(("limit", "tail"), [(0.03, 0.05), (0.03, 0.05 / 4), (0.1, 0.05)])
def test_the_rows_needed_without_a_change_are_exact(limit: float, tail: float) -> None:
    exact = math.ceil(math.log(tail) / math.log(1 - limit))
    assert rows_needed(compared(10, 0, 0), limit, tail) == exact


@pytest.mark.parametrize(("n", "rose", "fell"), [(100, 2, 4), (50, 10, 10), (100, 0, 2)])
def test_as_many_rows_as_are_said_to_be_needed_do_it(n: int, rose: int, fell: int) -> None:
    needed = rows_needed(compared(n, rose, fell), 0.03, 0.05)
    assert needed is not None
    assert needed > n
    times = math.ceil(needed / n) * 1.1
    more = compared(round(n * times), round(rose * times), round(fell * times))
    assert verdicts([asked(more)]) == ["pass"]
    fewer = 0.8 * needed / n
    less = compared(round(n * fewer), round(rose * fewer), round(fell * fewer))
    assert verdicts([asked(less)]) == ["underpowered"]


def test_no_number_of_rows_shows_what_is_not_so() -> None:
    assert rows_needed(compared(100, 0, 3), 0.03, 0.05) is None
    assert rows_needed(compared(100, 0, 10), 0.03, 0.05) is None
    assert rows_needed(compared(100, 0, 0), 1e-12, 0.05) is None
