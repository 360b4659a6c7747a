"""ScoreMatrix against an independent computation, against published logs, and at its edges."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lori_core.errors import BadInput
from lori_core.forgetting import ScoreMatrix

Rows = tuple[tuple[float | None, ...], ...]

FIGURES = (
    "average_accuracy",
    "learning_accuracy",
    "average_incremental_accuracy",
    "backward_transfer",
    "forgetting",
    "forward_transfer",
)


def matrix(*rows: tuple[float | None, ...]) -> ScoreMatrix:
    return ScoreMatrix(tasks=tuple(f"t{i}" for i in range(1, len(rows[0]) + 1)), rows=rows)


def naive(rows: Rows) -> dict[str, float | None]:
    """The same six figures from a dense array with NaN for what is missing, index from 0."""
    r = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=float)
    learned, total = r.shape[0] - 1, r.shape[1]

    def mean(values: list[float]) -> float | None:
        there = [v for v in values if not np.isnan(v)]
        return float(np.mean(there)) if there else None

    def after(k: int) -> float:
        value = mean(list(r[k, :k]))
        return np.nan if value is None else value

    def best(i: int) -> float:
        column = r[i + 1 : learned, i]
        column = column[~np.isnan(column)]
        return float(column.max()) if column.size else np.nan

    return {
        "average_accuracy": mean([after(learned)]) if learned else None,
        "learning_accuracy": mean([r[i + 1, i] for i in range(learned)]),
        "average_incremental_accuracy": mean([after(k) for k in range(1, learned + 1)]),
        "backward_transfer": mean([r[learned, i] - r[i + 1, i] for i in range(learned - 1)]),
        "forgetting": mean([best(i) - r[learned, i] for i in range(learned - 1)]),
        "forward_transfer": mean([r[i, i] - r[0, i] for i in range(1, total) if i <= learned]),
    }


@st.composite
def any_rows(draw: st.DrawFn) -> Rows:
    tasks = draw(st.integers(1, 6))
    count = draw(st.integers(1, tasks + 1))
    cell = st.none() | st.floats(0, 1, allow_nan=False, width=32)
    return tuple(tuple(draw(cell) for _ in range(tasks)) for _ in range(count))


@given(any_rows())
def test_every_figure_equals_an_independent_computation(rows: Rows) -> None:
    found = matrix(*rows).summary()
    for name, value in naive(rows).items():
        assert found[name] == (value if value is None else pytest.approx(value, abs=1e-12)), name


@given(any_rows())
def test_no_figure_is_ever_nan_and_each_is_what_its_method_says(rows: Rows) -> None:
    r = matrix(*rows)
    assert list(r.summary()) == list(FIGURES)
    assert list(r.summary().values()) == [
        r.average_accuracy(),
        r.learning_accuracy(),
        r.average_incremental_accuracy(),
        r.backward_transfer(),
        r.forgetting(),
        r.forward_transfer(),
    ]
    assert not any(v is not None and math.isnan(v) for v in r.summary().values())


@given(any_rows(), st.floats(-2, 2, allow_nan=False))
def test_changes_do_not_depend_on_the_zero_of_the_scale(rows: Rows, shift: float) -> None:
    moved = matrix(*(tuple(None if v is None else v + shift for v in row) for row in rows))
    for name in ("backward_transfer", "forgetting", "forward_transfer"):
        was, now = matrix(*rows).summary()[name], moved.summary()[name]
        assert now == (None if was is None else pytest.approx(was, abs=1e-9))


@given(any_rows())
def test_points_give_a_hundred_times_what_fractions_give(rows: Rows) -> None:
    points = matrix(*(tuple(None if v is None else 100 * v for v in row) for row in rows))
    for name, was in matrix(*rows).summary().items():
        now = points.summary()[name]
        assert now == (None if was is None else pytest.approx(100 * was, abs=1e-9))


@given(any_rows())
def test_a_matrix_whose_columns_never_move_has_exactly_zero_loss(rows: Rows) -> None:
    still = matrix(*(rows[0] for _ in rows))
    for figure in (still.backward_transfer(), still.forgetting(), still.forward_transfer()):
        assert figure is None or figure == 0.0


def test_the_published_log_of_o_lora_gives_the_figures_known_for_it() -> None:
    # github.com/cmnfriend/O-LoRA at 07117e1, logs_and_outputs/order1_olora, T5-large, exact match
    # in points. Its repository holds no base row and nothing above the diagonal.
    r = ScoreMatrix(
        tasks=("dbpedia", "amazon", "yahoo", "agnews"),
        rows=(
            (None, None, None, None),
            (98.7105, None, None, None),
            (98.5526, 57.7632, None, None),
            (97.4079, 57.4079, 71.9079, None),
            (97.7368, 56.0658, 71.0395, 88.6184),
        ),
    )
    assert r.average_accuracy() == pytest.approx(78.37, abs=0.005)
    assert r.learning_accuracy() == pytest.approx(79.25, abs=0.005)
    assert r.backward_transfer() == pytest.approx(-1.18, abs=0.005)
    assert r.forgetting() == pytest.approx(1.18, abs=0.005)
    assert r.average_incremental_accuracy() == pytest.approx(82.70, abs=0.005)
    assert r.forward_transfer() is None
    assert r.missing() == ((0, 1), (0, 2), (0, 3), (0, 4))


def test_a_small_matrix_by_hand() -> None:
    r = matrix(
        (0.1, 0.2, 0.3),
        (0.8, 0.3, 0.3),
        (0.9, 0.6, 0.1),
        (0.7, 0.5, 0.4),
    )
    assert r.average_accuracy() == pytest.approx((0.7 + 0.5 + 0.4) / 3)
    assert r.learning_accuracy() == pytest.approx((0.8 + 0.6 + 0.4) / 3)
    assert r.average_incremental_accuracy() == pytest.approx((0.8 + 0.75 + 1.6 / 3) / 3)
    assert r.backward_transfer() == pytest.approx((-0.1 - 0.1) / 2)
    assert r.forgetting() == pytest.approx((0.2 + 0.1) / 2)  # from the best, 0.9, not the first
    assert r.forward_transfer() == pytest.approx((0.1 - 0.2) / 2)
    assert r.forgetting_terms() == pytest.approx({"t1": 0.2, "t2": 0.1})
    assert r.backward_transfer_terms() == pytest.approx({"t1": -0.1, "t2": -0.1})
    assert r.forward_transfer_terms() == pytest.approx({"t2": 0.1, "t3": -0.2})


def test_after_one_task_nothing_can_have_been_transferred_or_forgotten() -> None:
    r = matrix((0.1,), (0.9,))
    assert r.average_accuracy() == r.learning_accuracy() == 0.9
    assert r.average_incremental_accuracy() == 0.9
    assert r.backward_transfer() is None
    assert r.forgetting() is None
    assert r.forward_transfer() is None


def test_the_base_alone_has_no_figure() -> None:
    assert set(matrix((0.1, 0.2)).summary().values()) == {None}


def test_forgetting_is_negative_when_the_last_row_is_the_best() -> None:
    assert matrix((0.0, 0.0), (0.5, 0.0), (0.7, 0.5)).forgetting() == pytest.approx(-0.2)


def test_forgetting_ignores_the_rows_before_a_task_was_learned() -> None:
    r = matrix((0.9, 0.9, 0.0), (0.5, 0.9, 0.0), (0.5, 0.4, 0.0), (0.5, 0.4, 0.6))
    assert r.forgetting() == 0.0


def test_forgetting_looks_past_a_missing_cell_and_drops_a_term_without_a_last_score() -> None:
    r = matrix((0.0, 0.0, 0.0), (None, 0.0, 0.0), (0.8, 0.6, 0.0), (0.7, None, 0.5))
    assert r.forgetting_terms() == {"t1": pytest.approx(0.1)}  # own row missing: the next one
    assert r.backward_transfer() is None  # neither task has both of its cells
    none_left = matrix((0.0, 0.0, 0.0), (None, 0.0, 0.0), (None, 0.6, 0.0), (0.7, 0.6, 0.5))
    assert none_left.forgetting_terms() == {"t2": 0.0}
    assert r.missing() == ((1, 1), (3, 2))


def test_a_missing_cell_is_left_out_of_averages_and_never_counts_as_zero() -> None:
    r = matrix((None, None), (0.4, None), (None, 0.8))
    assert r.average_accuracy() == 0.8
    assert r.learning_accuracy() == pytest.approx(0.6)
    assert r.average_incremental_accuracy() == pytest.approx(0.6)


def test_an_unfinished_sequence_counts_only_what_it_has_learned() -> None:
    r = matrix((0.1, 0.1, 0.1), (0.9, 0.2, 0.1))
    assert r.learned == 1
    assert r.average_accuracy() == 0.9
    assert r.forward_transfer() == pytest.approx(0.1)  # task 2 before it is learned


def test_cells_are_found_by_version_and_task() -> None:
    r = matrix((0.1, 0.2), (0.3, 0.4))
    assert (r.score(0, 2), r.score(1, 1)) == (0.2, 0.3)
    for k, i in ((2, 1), (0, 0), (0, 3), (-1, 1)):
        with pytest.raises(BadInput, match="expected k from 0 to 1"):
            r.score(k, i)


@pytest.mark.parametrize(
    ("tasks", "rows", "says"),
    [
        ((), ((),), "one or more different names"),
        (("a", "a"), ((0.1, 0.2),), "different names"),
        (("a",), (), "0 rows of scores for 1 tasks"),
        (("a",), ((0.1,), (0.2,), (0.3,)), "3 rows of scores for 1 tasks: expected from 1"),
        (("a", "b"), ((0.1, 0.2), (0.1,)), "row 1 holds 1 scores"),
        (("a",), ((0.1, 0.2),), "row 0 holds 2 scores"),
        (("a",), ((math.nan,),), "row 0, task 'a': score nan"),
        (("a",), ((math.inf,),), "score inf"),
    ],
)
def test_what_is_no_matrix_is_refused_as_a_value_error(
    tasks: tuple[str, ...], rows: Rows, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        ScoreMatrix(tasks=tasks, rows=rows)


def test_a_score_that_is_text_is_refused() -> None:
    rows: Any = (("0.5",),)
    with pytest.raises(
        (ValueError, TypeError), match=r"0\.5"
    ):  # the type checker of tests is first
        ScoreMatrix(tasks=("a",), rows=rows)


def test_whole_numbers_are_scores_too() -> None:
    assert ScoreMatrix(tasks=("a",), rows=((0,), (1,))).average_accuracy() == 1.0
