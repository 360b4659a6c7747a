"""Light and dark: complete, readable, and told apart by colour-blind eyes."""

import itertools
import math

import pytest
from themes import THEMES, Theme, by_preference, contrast, deuteranope, lab, linear, values

INKS = [
    ("ink-strong", "paper"), ("ink", "paper"), ("ink-faint", "paper"), ("ink-faint", "canvas"),
    ("ink-faint", "sunk"), ("ink", "sunk"), ("accent", "paper"), ("accent", "canvas"),
    ("accent", "accent-soft"), ("accent-strong", "accent-soft"), ("on-accent", "accent"),
    ("good", "good-soft"), ("bad", "bad-soft"), ("bad", "paper"), ("warn", "warn-soft"),
    ("on-proved", "proved"), ("ink-strong", "good-soft"), ("ink-strong", "bad-soft"),
    ("ink-strong", "warn-soft"), ("plot-ink-strong", "plot-proved-soft"),
]  # fmt: skip
MARKS = [("edge-strong", "paper"), ("focus", "paper"), ("focus", "canvas"), ("proved", "paper")]


def test_dark_is_the_same_whether_it_is_chosen_or_preferred() -> None:
    assert by_preference() == values("dark")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), INKS)
def test_words_can_be_read(theme: Theme, ink: str, ground: str) -> None:
    known = values(theme)
    assert contrast(known[ink], known[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("mark", "ground"), MARKS)
def test_edges_of_fields_and_marks_can_be_seen(theme: Theme, mark: str, ground: str) -> None:
    known = values(theme)
    assert contrast(known[mark], known[ground]) >= 3


@pytest.mark.parametrize("theme", THEMES)
def test_lines_can_be_seen_and_told_apart_without_green_receptors(theme: Theme) -> None:
    known = values(theme)
    lines = [known[f"plot-line-{number}"] for number in range(1, 6)]
    for line in [known[f"plot-line-{number}"] for number in range(1, 9)]:
        assert contrast(line, known["plot-ground"]) >= 3
    for one, other in itertools.combinations([*lines, known["plot-proved"]], 2):
        assert math.dist(lab(linear(one)), lab(linear(other))) > 12
    for one, other in itertools.combinations(lines, 2):
        assert math.dist(lab(deuteranope(one)), lab(deuteranope(other))) > 10


@pytest.mark.parametrize("theme", THEMES)
def test_zero_of_a_change_is_grey_and_both_sides_differ_from_it_alike(theme: Theme) -> None:
    stops = [stop.strip() for stop in values(theme)["plot-changes"].split(",")]
    assert len(stops) % 2 == 1
    middle = len(stops) // 2
    _, a, b = lab(linear(stops[middle]))
    assert math.hypot(a, b) < 6  # no hue
    for step in range(1, middle + 1):
        loss, gain = stops[middle - step], stops[middle + step]
        lightness = [lab(linear(each))[0] for each in (loss, gain)]
        assert abs(lightness[0] - lightness[1]) < 12
        assert math.dist(lab(deuteranope(loss)), lab(deuteranope(gain))) > 8 * min(step, 3)


@pytest.mark.parametrize("theme", THEMES)
def test_a_higher_score_is_further_from_the_page_at_every_step(theme: Theme) -> None:
    known = values(theme)
    stops = [stop.strip() for stop in known["plot-scores"].split(",")]
    away = [contrast(stop, known["plot-ground"]) for stop in stops]
    assert away == sorted(away)
    assert all(b > 1.1 * a for a, b in itertools.pairwise(away))
