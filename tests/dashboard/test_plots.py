"""Every figure: taken by plotly as it is, honest about what is missing, and coloured by known roles."""

import json
from typing import Any

import plotly.graph_objects as go
import pytest
from themes import THEMES, Theme, painted, roles, values

from dashboard.plots import bars, curves, density, heat_map, losses, overlaps, whiskers
from dashboard.plots.figure import Figure, short_labels, written

TASKS = ("safety", "math", "code")
ROWS = ("base", "1 safety", "2 math", "3 code")
SCORES = ((0.1, 0.2, 0.05), (0.9, 0.25, None), (0.9, 0.6, None), (0.87, 0.6, 0.5))
CHANGES = ((None, None, None), (0.0, None, None), (0.0, 0.0, None), (-0.03, 0.0001, 0.0))
OWN = (None, 0, 1, 2)


def line(name: str, count: int, *, gap: int | None = None, proved: bool = False) -> curves.Line:
    points = [
        curves.Point(x=k, value=None if k == gap else 0.5, low=0.45, high=0.56, n=300)
        for k in range(1, count + 1)
    ]
    if proved:
        points = [curves.Point(x=point.x, value=0.0) for point in points]
    return curves.Line(name=name, points=tuple(points), proved=proved)


FIGURES: dict[str, Figure] = {
    "scores": heat_map.scores(ROWS, TASKS, SCORES, own=OWN),
    "changes": heat_map.changes(ROWS, TASKS, CHANGES, own=OWN),
    "one cell": heat_map.scores(("base",), ("safety",), ((0.5,),)),
    "nothing measured": heat_map.scores(ROWS, TASKS, ((None,) * 3,) * 4),
    "100 tasks": heat_map.scores(
        [f"v{k}" for k in range(101)], [f"t{i}" for i in range(100)], [[0.5] * 100] * 101
    ),
    "450 tasks": heat_map.scores(
        [f"v{k}" for k in range(450)], [f"t{i}" for i in range(450)], [[0.5] * 450] * 450
    ),
    "few points": curves.curves(
        [line("measured", 4, gap=3), line("held", 4, proved=True)], x="version", y="points",
        change=True,
    ),
    "many points": curves.curves([line("score", 60, gap=30)], x="version", y="score, %"),
    "no line": curves.curves([], x="version", y="score, %"),
    "capacity": bars.capacity(
        [bars.Capacity(name="q_proj", used=40, planned=20, free=40),
         bars.Capacity(name="nothing", used=0, planned=0, free=0)]
    ),
    "losses": losses.losses(
        [losses.LossLine(name="training", steps=tuple(range(2500)), losses=(1.0,) * 2499 + (None,)),
         losses.LossLine(name="none", steps=(), losses=())]
    ),
    "density": density.density(("0", "1"), ("q_proj", "v_proj"), ((0.1, 0.2), (None, 0.0))),
    "overlaps": overlaps.overlaps(
        TASKS,
        ((None, 0.0, 0.2), (0.0, None, None), (0.2, None, None)),
        ((False, True, False), (True, False, False), (False, False, False)),
    ),
    "differences": whiskers.differences(
        [whiskers.Difference(name="safety", value=-0.01, low=-0.03, high=0.01),
         whiskers.Difference(name="math", value=None),
         whiskers.Difference(name="code", value=0.0, proved=True)],
        x="b minus a, points",
    ),
}  # fmt: skip


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", FIGURES)
def test_plotly_takes_every_figure(name: str, theme: Theme) -> None:
    go.Figure(painted(FIGURES[name], theme))  # refuses unknown keys, colours and values


@pytest.mark.parametrize("name", FIGURES)
def test_every_role_is_a_colour_of_both_themes(name: str) -> None:
    for theme in THEMES:
        known = {key.removeprefix("plot-") for key in values(theme) if key.startswith("plot-")}
        assert roles(FIGURES[name]) - {"hatch"} <= known


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_plain_json(name: str) -> None:
    assert json.loads(json.dumps(FIGURES[name], allow_nan=False)) == FIGURES[name]


def cells_of(figure: Figure) -> dict[str, Any]:
    return next(dict(trace) for trace in figure["data"] if trace.get("coloraxis"))


@pytest.mark.parametrize(("name", "given"), [("scores", SCORES), ("changes", CHANGES)])
def test_what_is_missing_stays_missing(name: str, given: tuple[tuple[float | None, ...]]) -> None:
    cells = cells_of(FIGURES[name])
    assert [[z is None for z in row] for row in cells["z"]] == [
        [value is None for value in row] for row in given
    ]
    for row, texts in zip(given, cells["text"], strict=True):
        assert [text == "" for text in texts] == [value is None for value in row]
    nothing = FIGURES[name]["data"][-1]
    assert "not measured" in nothing["hovertemplate"]
    assert [[z == 1 for z in row] for row in nothing["z"]] == [
        [value is None for value in row] for row in given
    ]


def test_a_map_of_nothing_draws_no_score() -> None:
    assert not [trace for trace in FIGURES["nothing measured"]["data"] if trace.get("coloraxis")]


def test_scores_are_percent_from_0_to_100_whatever_they_are() -> None:
    assert cells_of(FIGURES["scores"])["z"][1][0] == 90.0
    axis = FIGURES["scores"]["layout"]["coloraxis"]
    assert (axis["cmin"], axis["cmax"], axis["colorscale"]) == (0, 100, "@scores")


@pytest.mark.parametrize("most", [0.0, 0.004, 0.4, -0.9])
def test_zero_of_a_change_is_the_middle_of_its_scale(most: float) -> None:
    axis = heat_map.changes(("1",), ("a", "b"), ((most, 0.0),))["layout"]["coloraxis"]
    assert axis["cmin"] == -axis["cmax"]
    assert axis["cmax"] >= max(1.0, abs(100 * most))
    scale = painted("@changes", "light")
    assert [place for place, _ in scale].count(0.5) == 1


def test_a_change_that_rounds_to_zero_has_no_sign() -> None:
    assert cells_of(FIGURES["changes"])["text"][3] == ["−3.0", "0.0", "0.0"]
    assert [written(each, 1, sign=True) for each in (-0.04, 0.0, 0.06)] == ["0.0", "0.0", "+0.1"]


def test_the_cell_of_the_task_learned_is_outlined() -> None:
    shape = FIGURES["scores"]["layout"]["shapes"][0]
    assert shape["path"].count("M") == 3
    assert shape["path"].startswith("M-0.5,0.5L0.5,0.5L0.5,1.5L-0.5,1.5Z")  # row 1, column 0


def test_above_200_tasks_neighbours_share_a_bin_whose_mean_leaves_out_what_is_missing() -> None:
    values: list[list[float | None]] = [[None] * 403 for _ in range(403)]
    values[0][0], values[2][1], values[402][402] = 0.2, 0.6, 0.9
    names = [f"t{k}" for k in range(403)]
    figure = heat_map.scores(names, names, values)
    cells = cells_of(figure)
    assert len(cells["z"]) == len(cells["z"][0]) == 135  # of 3 by 3
    assert cells["z"][0][0] == pytest.approx(40.0)  # of two measured, not of nine
    assert cells["z"][134][134] == pytest.approx(90.0)
    assert sum(z is not None for row in cells["z"] for z in row) == 2
    assert cells["x"][0] == "t0 to t2"
    assert "3 by 3" in figure["layout"]["coloraxis"]["colorbar"]["title"]["text"]


def test_200_tasks_are_drawn_one_by_one() -> None:
    names = [f"t{k}" for k in range(200)]
    assert len(cells_of(heat_map.scores(names, names, [[0.1] * 200] * 200))["z"]) == 200


def test_every_measured_point_has_its_interval_and_a_gap_stays_one() -> None:
    drawn = FIGURES["few points"]["data"][0]
    assert drawn["y"] == [50.0, 50.0, None, 50.0]
    assert drawn["connectgaps"] is False
    assert drawn["error_y"]["array"] == [6.0, 6.0, None, 6.0]
    assert drawn["error_y"]["arrayminus"] == [5.0, 5.0, None, 5.0]
    bands = FIGURES["many points"]["data"][:-1]
    assert [band["fill"] for band in bands] == ["toself", "toself"]  # one each side of the gap


def test_proved_is_not_drawn_as_measured() -> None:
    measured, proved = FIGURES["few points"]["data"]
    assert "error_y" not in proved
    assert "proved" in proved["name"]
    assert proved["marker"]["symbol"] != measured["marker"]["symbol"]
    assert proved["line"]["color"] != measured["line"]["color"]
    measured, proved = FIGURES["differences"]["data"]
    assert "error_x" not in proved
    assert proved["marker"]["symbol"] == "square"
    held = next(t for t in FIGURES["overlaps"]["data"] if "proved" in t.get("hovertemplate", ""))
    assert held["colorscale"][0][1] == "@proved-soft"
    assert [[z == 1 for z in row] for row in held["z"]] == [
        [False, True, False], [True, False, False], [False, False, False],
    ]  # fmt: skip


def test_an_overlap_that_was_not_counted_is_no_zero() -> None:
    counted = cells_of(FIGURES["overlaps"])
    assert counted["z"] == [[None, None, 20.0], [None, None, None], [20.0, None, None]]
    unknown = FIGURES["overlaps"]["data"][-1]
    assert "not counted" in unknown["hovertemplate"]
    assert unknown["z"][1] == [None, None, 1]


def test_a_bar_of_capacity_is_whole() -> None:
    used, planned, free = FIGURES["capacity"]["data"]
    assert [used["x"][0], planned["x"][0], free["x"][0]] == [40, 20, 40]
    assert [used["x"][1], planned["x"][1], free["x"][1]] == [0, 0, 0]
    plain = bars.capacity([bars.Capacity(name="q", used=1, planned=0, free=3)])
    assert [trace["name"] for trace in plain["data"]] == ["used", "free"]


def test_a_long_loss_is_thinned_and_keeps_its_last_step() -> None:
    drawn = FIGURES["losses"]["data"][0]
    assert len(drawn["x"]) <= losses.MOST + 1
    assert (drawn["x"][-1], drawn["y"][-1]) == (2499, None)


def test_long_names_stay_different_when_they_are_cut() -> None:
    assert short_labels(["a" * 40, "b"]) == ["a" * 21 + "…", "b"]
    cut = short_labels([f"the-same-beginning-of-names-{k}" for k in range(3)])
    assert len(set(cut)) == 3
    assert all(len(name) == 22 for name in cut)
