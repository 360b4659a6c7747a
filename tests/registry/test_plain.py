from datetime import UTC, datetime, timedelta, timezone

import pytest

from lori_core.errors import BadInput
from registry.plain import LARGEST, aware_time, one_line, plain_text, whole_number


@pytest.mark.parametrize(
    "text", ["because", "  because ", "weil's so ist", "理由 👩‍🔬", "[/x] :a:"]
)
def test_words_of_any_language_are_kept(text: str) -> None:
    assert plain_text("reason", text) == text.strip()


@pytest.mark.parametrize(
    "text", ["a\nlori: all good", "a\t\n\n lori: all good", "a\u2028lori: all good"]
)
def test_a_reason_is_one_line_and_can_look_like_no_second_message(text: str) -> None:
    assert plain_text("reason", text) == "a lori: all good"


@pytest.mark.parametrize(
    "text", ["", " \n", "a\x00b", "a\x1b[2Jb", "\ud800", "a\u202eb", "x" * 2001, "a\x7fb", "a\x9bb"]
)
def test_what_a_store_log_or_terminal_cannot_show_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        plain_text("reason", text)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("number", [-1, LARGEST + 1, 10**5000], ids=["less", "more", "most"])
def test_a_number_no_column_holds_is_refused(number: int) -> None:
    with pytest.raises(BadInput, match="whole number"):
        whole_number("version", number)
    assert whole_number("version", LARGEST) == LARGEST


def test_times_say_their_zone_and_fit_every_store() -> None:
    east = timezone(timedelta(hours=5))
    assert aware_time("time", datetime(2026, 1, 1, 5, tzinfo=east)) == datetime(
        2026, 1, 1, tzinfo=UTC
    )
    for bad in (
        datetime(2026, 1, 1),  # noqa: DTZ001
        datetime(1, 1, 1, tzinfo=east),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-23))),
    ):
        with pytest.raises(BadInput):
            aware_time("time", bad)


def test_a_strangers_line_cannot_move_the_cursor() -> None:
    assert one_line("a\x1b[2J\nb\r\tc\u202e") == "a [2J b c"
    assert len(one_line("x" * 10_000)) == 600
