"""Among which strings a closed question is answered."""

import pytest

from lori_core.candidates import Candidates, candidates
from lori_core.errors import BadInput
from lori_core.prompts import Example


def row(completion: str, choices: tuple[str, ...] | None, label: int | None = None) -> Example:
    return Example(
        id="row-7",
        prefix="Which?\n",
        input="",
        suffix="",
        completion=completion,
        choices=choices,
        label=label,
    )


def test_a_target_among_the_choices_is_asked_among_the_choices() -> None:
    found = candidates(row("Sports", ("World", "Sports", "Business")))
    assert found == Candidates(("World", "Sports", "Business"), 1)


@pytest.mark.parametrize(
    ("stem", "place"), [("answer", 3), ("option", 1), ("solution", 2), ("", 2)]
)
def test_a_target_that_names_a_place_is_asked_among_the_places(stem: str, place: int) -> None:
    found = candidates(row(f"{stem}{place}", ("ice", "steam", "fog"), place - 1))
    assert found == Candidates((f"{stem}1", f"{stem}2", f"{stem}3"), place - 1)


def test_more_than_nine_places_are_told_apart() -> None:
    found = candidates(row("answer12", tuple("abcdefghijkl")))
    assert found.texts[11] == "answer12"
    assert found.right == 11


def test_choices_that_are_numbers_themselves_are_choices() -> None:
    assert candidates(row("2", ("1", "2", "3"))).right == 1
    assert candidates(row("10", ("10", "20"))) == Candidates(("10", "20"), 0)


@pytest.mark.parametrize(
    ("target", "choices", "label", "says"),
    [
        ("x", None, None, "row 'row-7' has no `choices`"),
        ("Sport", ("World", "Sports"), None, "'Sport': expected one of 'World', 'Sports'"),
        ("answer3", ("a", "b"), None, "a word with 1 to 2"),
        ("answer0", ("a", "b"), None, "a word with 1 to 2"),
        ("answer1", ("a", "b"), 1, "both to name the same choice"),
    ],
)
def test_a_row_whose_right_answer_cannot_be_told_is_named(
    target: str, choices: tuple[str, ...] | None, label: int | None, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        candidates(row(target, choices, label))
