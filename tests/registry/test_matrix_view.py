import dataclasses
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from folder_artifacts import FolderArtifacts
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_cases import Learned
from sqlalchemy import delete

from lori_core.config import Read
from lori_core.forgetting import ScoreMatrix
from registry.matrix_view import LARGEST_MAP, MatrixView, matrix_line, matrix_map, matrix_view
from registry.models import Evaluation
from registry.score_changes import Change
from registry.score_curves import Earlier, Mean, figures_of
from registry.score_grid import ScoreGrid
from registry.sequence_view import score_grid, sequence_view
from registry.store import Registry, open_registry

COVERED = {1, 2, 3}


@pytest.fixture
def bare(home: Path, tables: None, folder: FolderArtifacts) -> Iterator[Registry]:
    with open_registry(home, artifacts=folder) as registry:
        yield registry


def grid_of(rows: list[list[float | None]], read: Read = "cumulative") -> ScoreGrid:
    value = np.array([[np.nan if v is None else v for v in row] for row in rows], dtype=float)
    known = ~np.isnan(value)
    return ScoreGrid(
        read=read,
        tasks=tuple(f"t{i}" for i in range(1, value.shape[1] + 1)),
        value=value,
        low=value - 0.05,
        high=value + 0.05,
        n=np.where(known, 100, 0),
        unchanged=np.zeros(value.shape, np.bool_),
        scale=np.where(known, 1, 0),
        cell=np.where(known, 1, 0),
    )


def test_every_score_is_that_of_the_matrix_the_registry_gives_programs(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(
        registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b", "c", "d")
    ).declare()
    made.proved(3).falling(3, read="cumulative")
    made.score(2, "a", 7, read="cumulative", marked="again")  # measured anew: the newer one stands
    made.score(3, "a", 50, under="b")  # a guard is no part of R
    for read in ("isolated", "inherited", "cumulative"):
        grid, _ = score_grid(bare, "s", read)
        reference = bare.matrix_cells("s", read)
        assert [
            [None if cell is None else (cell.value, cell.low, cell.high, cell.n) for cell in row.cells]
            for row in reference.rows
        ] == [
            [
                None
                if grid.score(k, i) is None
                else (
                    grid.score(k, i), grid.low[k, i - 1], grid.high[k, i - 1], grid.n[k, i - 1]
                )
                for i in range(1, 5)
            ]
            for k in range(4)
        ]  # fmt: skip


def test_a_cell_that_is_measured_later_is_seen_at_once(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b")).declare()
    made.proved(1)
    assert score_grid(bare, "s", "inherited")[0].score(1, 2) is None
    made.score(1, "b", 33)
    assert score_grid(bare, "s", "inherited")[0].score(1, 2) == 0.33


def test_cells_say_what_they_are_and_what_is_missing_has_no_number(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b", "c")).declare()
    made.score(0, "a", 10)
    made.score(1, "a", 90, function="a")
    made.score(1, "b", 20)
    made.score(2, "a", 90, function="a")
    made.score(3, "a", 80)
    made.score(3, "c", 70)
    for version in (1, 2, 3):
        made.file(version)
    view = sequence_view(bare, "s").matrix
    kinds = [[cell.kind for cell in line.cells] for line in view.lines]
    assert kinds == [
        ["base", "missing", "missing"],
        ["own", "ahead", "unasked"],
        ["proved", "missing", "unasked"],
        ["measured", "missing", "own"],
    ]
    for line in view.lines:
        for cell in line.cells:
            assert (cell.score is None) == (cell.kind in {"missing", "unasked"})
    assert view.missing == 4
    assert view.lines[3].cells[0].change == pytest.approx(-0.1)


def test_equal_scores_without_a_certificate_are_not_called_proved(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(
        registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b"), level="G0",
        protection="overlap", read="cumulative",
    ).declare()  # fmt: skip
    made.proved(2)
    assert sequence_view(bare, "s").matrix.lines[2].cells[0].kind == "same_bits"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [(None, 36, 60), (1, 1, 25), (26, 26, 50), (51, 51, 60), (900, 60, 60)],
)
def test_the_table_is_a_window_that_reaches_every_cell(
    asked: int | None, first: int, last: int
) -> None:
    grid = grid_of([[0.5] * 60 for _ in range(61)])
    view = _view(grid, asked)
    assert [line.version for line in view.lines] == [0, *range(first, last + 1)]
    assert view.columns == tuple(f"t{i}" for i in range(first, last + 1))
    assert all(len(line.cells) == len(view.columns) for line in view.lines)


def test_up_to_200_tasks_the_map_has_every_cell() -> None:
    whole = matrix_map(grid_of([[0.25] * LARGEST_MAP for _ in range(LARGEST_MAP + 1)]))
    assert whole.bin == 1
    assert (len(whole.rows), len(whole.columns)) == (201, 200)
    assert whole.own[:3] == (None, 0, 1)


def test_a_larger_map_holds_the_means_of_what_was_measured() -> None:
    tasks, each = 401, 3
    rng = random.Random(5)
    rows: list[list[float | None]] = [
        [None if rng.random() < 0.3 else rng.random() for _ in range(tasks)]
        for _ in range(tasks + 1)
    ]
    rows[1:4] = [[None] * tasks for _ in range(3)]
    whole = matrix_map(grid_of(rows))
    assert whole.bin == each
    assert len(whole.rows) == 1 + math.ceil(tasks / each)
    assert whole.scores[1] == (None,) * len(whole.columns)  # a bin without any cell is missing
    for row, column in ((0, 0), (2, 5), (len(whole.rows) - 1, len(whole.columns) - 1)):
        first = 0 if row == 0 else 1 + (row - 1) * each
        lines = rows[first : first + (1 if row == 0 else each)]
        block = [v for line in lines for v in line[column * each : (column + 1) * each]]
        known = [v for v in block if v is not None]
        assert whole.scores[row][column] == pytest.approx(sum(known) / len(known), abs=1e-5)


def test_changes_are_from_the_score_a_task_had_when_it_was_learned() -> None:
    whole = matrix_map(
        grid_of([[0.1, 0.2], [0.9, 0.3], [0.7, None]]),
    )
    assert whole.changes == ((None, None), (0.0, None), (pytest.approx(-0.2), None))


scores = st.one_of(st.none(), st.integers(0, 100).map(lambda right: right / 100))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_figures_of_every_version_are_those_of_its_prefix(data: st.DataObject) -> None:
    """`lori_core.forgetting` asked anew for each prefix is the reference."""
    tasks = data.draw(st.integers(1, 6))
    last = data.draw(st.integers(1, tasks))
    rows = [data.draw(st.lists(scores, min_size=tasks, max_size=tasks)) for _ in range(last + 1)]
    grid = grid_of(rows)
    for figures in figures_of(grid, ()):
        prefix = ScoreMatrix(grid.tasks, tuple(map(tuple, rows[: figures.version + 1])))
        assert _value(figures.average) == _near(prefix.average_accuracy())
        assert _value(figures.learning) == _near(prefix.learning_accuracy())
        assert _value(figures.forgetting) == _near(prefix.forgetting())
        assert figures.backward == _near(prefix.backward_transfer())
        assert _value(figures.forward) == _near(prefix.forward_transfer())
        terms = prefix.forgetting_terms()
        assert (figures.worst is None) == (not terms)
        if figures.worst is not None:
            assert figures.worst.value == _near(max(terms.values()))
            assert terms[figures.worst.task] == _near(figures.worst.value)


def test_a_mean_is_proved_only_where_every_term_is() -> None:
    rows: list[list[float | None]] = [[0.1] * 3, [0.9] * 3, [0.9] * 3, [0.9, 0.8, 0.9]]
    grid = grid_of(rows, "inherited")
    both = np.array([[False] * 3, [False] * 3, [True, False, False], [True, True, False]])
    one = both.copy()
    one[3, 1] = False
    proved = figures_of(dataclasses.replace(grid, unchanged=both), COVERED)[-1].forgetting
    mixed = figures_of(dataclasses.replace(grid, unchanged=one), COVERED)[-1].forgetting
    uncovered = figures_of(dataclasses.replace(grid, unchanged=both), ())[-1].forgetting
    assert proved is not None
    assert mixed is not None
    assert uncovered is not None
    assert proved.basis == "proved"
    assert proved.low == proved.value == proved.high
    assert proved.value == 0
    assert (mixed.basis, uncovered.basis) == ("unpaired", "same_bits")
    assert mixed.low < mixed.value < mixed.high
    assert uncovered.low < uncovered.value < uncovered.high


def _view(grid: ScoreGrid, start: int | None) -> MatrixView:
    return matrix_view("s", grid, trained=True, covered=(), filed=(), rows=start, columns=start)


def _value(mean: Mean | None) -> float | None:
    return None if mean is None else mean.value


def _near(value: float | None) -> object:
    return None if value is None else pytest.approx(value, abs=1e-12)


def _rescored() -> ScoreGrid:
    """Two tasks; the first was learned, and measured again after the second on other rows."""
    grid = grid_of([[0.1, 0.1], [0.9, 0.2], [0.6, 0.8]], "inherited")
    scale = grid.scale.copy()
    scale[2, 0] = 2
    unchanged = np.array([[False, False], [False, False], [True, False]])
    return dataclasses.replace(grid, scale=scale, unchanged=unchanged)


def test_what_is_proved_is_exactly_zero_whatever_rows_it_was_measured_on_again() -> None:
    grid = _rescored()
    last = figures_of(grid, {2})[-1]
    assert last.forgetting == Mean(value=0.0, low=0.0, high=0.0, terms=1, basis="proved")
    assert last.worst is not None
    assert (last.worst.value, last.worst.low, last.worst.high) == (0.0, 0.0, 0.0)
    assert last.backward == 0.0
    cell = matrix_line(grid, 2, 1, 2, {2})[0]
    assert (cell.kind, cell.change) == ("proved", 0.0)
    assert matrix_map(grid, {2}).changes[2][0] == 0.0


def test_scores_of_other_rows_have_no_difference_and_are_counted() -> None:
    grid = _rescored()
    last = figures_of(grid, ())[-1]
    assert (last.forgetting, last.worst, last.backward) == (None, None, None)
    assert last.earlier == Earlier(incomparable=1)
    cell = matrix_line(grid, 2, 1, 2, ())[0]
    assert (cell.kind, cell.change) == ("same_bits", None)
    assert matrix_map(grid).changes[2][0] is None


def test_a_certificate_covers_its_own_read_alone(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b")).declare()
    made.proved(2)
    for version in (1, 2):
        made.score(version, "a", 90, read="isolated", function="a")
    assert sequence_view(bare, "s").matrix.lines[2].cells[0].kind == "proved"
    other = sequence_view(bare, "s", "isolated")
    assert other.matrix.lines[2].cells[0].kind == "same_bits"
    lost = other.tasks[0].lost
    assert lost is not None
    assert isinstance(lost.change, Change)
    assert lost.change.basis == "same_bits"
    assert lost.change.low < lost.change.value == 0 < lost.change.high
    isolated = next(each for each in other.reads if each.read == "isolated")
    assert (isolated.all_proved, isolated.earlier) == (False, Earlier(same_bits=1))


def test_an_encoder_lacks_no_base_row_and_a_declared_task_lacks_nothing() -> None:
    grid = grid_of([[None] * 3, [0.9, None, None], [0.9, 0.8, None]])
    whole = matrix_view("s", grid, trained=True, covered=(), filed=(1, 2))
    assert whole.missing == 2
    assert [cell.kind for cell in whole.lines[0].cells] == ["missing", "missing", "unasked"]
    encoder = matrix_view("s", grid, trained=True, covered=(), filed=(1, 2), encoder=True)
    assert encoder.missing == 0
    assert {cell.kind for cell in encoder.lines[0].cells} == {"unasked"}


def test_rows_above_the_newest_filed_version_lead_nothing(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b", "c")).declare()
    made.proved(2)
    made.score(3, "a", 10)
    view = sequence_view(bare, "s")
    assert [line.filed for line in view.matrix.lines] == [True, True, True, False]
    served = next(each for each in view.reads if each.trained)
    assert served.all_proved
    assert view.tasks[0].now is not None
    assert view.tasks[0].now.value != 0.1


def test_a_cell_that_takes_a_deleted_ones_id_is_seen(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a",)).declare()
    made.score(1, "a", 90)
    assert score_grid(bare, "s", "inherited")[0].score(1, 1) == 0.9
    with bare._database.writing() as session:
        session.execute(delete(Evaluation))
    made.score(1, "a", 40)
    assert score_grid(bare, "s", "inherited")[0].score(1, 1) == 0.4


def test_a_worst_loss_whose_cell_is_gone_meanwhile_is_no_figure(
    bare: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b")).declare()
    made.proved(2)
    made.score(2, "a", 50)
    monkeypatch.setattr("registry.score_changes.read_cells", lambda *_: {})
    served = next(each for each in sequence_view(bare, "s").reads if each.trained)
    assert served.worst is None
