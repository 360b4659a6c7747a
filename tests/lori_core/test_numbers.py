"""Which number an answer gives."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lori_core.numbers import final_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 16", "16"),
        ("She has <<9+7=16>>16 insects.\n#### 1,234", "1234"),
        ("#### $1,234.50", "1234.5"),
        ("####16", "16"),
        ("#### -5", "-5"),
        ("#### 16\nQ: and 3 more?\n#### 19", "16"),
        ("#### 3 apples of 12", "3"),
        ("####\n16 or 17", "17"),
        ("#### none, but 4 #### 7", "4"),
        ("the answer is 42", "42"),
        ("1,234,567.5", "1234567.5"),
        ("12,34", "34"),
        ("7-3", "3"),
        ("7 - 3", "3"),
        ("x = -3", "-3"),
        ("-3", "-3"),
        ("(-3)", "-3"),
        ("\N{MINUS SIGN}3", "-3"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("$ 1,000.00 in all.", "1000"),
        ("50%", "50"),
        ("3.", "3"),
        (".5", "0.5"),
        ("version 1.2.3", "3"),
        ("2/3", "3"),
        ("007", "7"),
    ],
)
def test_the_number_of_an_answer_is_found(text: str, number: str) -> None:
    assert final_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "none", "####", "#### ", "$", "-", ",", "five"])
def test_an_answer_without_a_number_has_none(text: str) -> None:
    assert final_number(text) is None


@given(st.decimals(-(10**12), 10**12, places=2), st.sampled_from(["", "$"]))
def test_any_number_as_people_write_it_is_read_back(number: Decimal, currency: str) -> None:
    written = f"{'-' if number < 0 else ''}{currency}{abs(number):,}"
    assert final_number(f"It is {written}.") == number
    assert final_number(f"Of 3, that is\n#### {written}\nNext 9") == number


@given(st.text(alphabet="0123456789.,$-#\n x", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    number = final_number(text)
    assert (number is None) == (not any(c.isdigit() for c in text))


def test_a_very_long_number_is_still_exact() -> None:
    assert final_number("9" * 5000) == Decimal("9" * 5000)
