from datetime import UTC, datetime, timedelta

import pytest

from flows.times import parse_past, parse_time, parse_until, shown
from lori_core.errors import BadInput

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def test_a_time_is_read_with_its_zone_and_a_date_is_its_first_moment() -> None:
    assert parse_time("2026-03-15T09:30:00+01:00") == datetime(2026, 3, 15, 8, 30, tzinfo=UTC)
    assert parse_time("2026-03-15T09:30:00Z") == datetime(2026, 3, 15, 9, 30, tzinfo=UTC)
    assert parse_time("2026-03-15") == datetime(2026, 3, 15).astimezone()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_a_span_counts_from_now(text: str, span: timedelta) -> None:
    assert parse_until(text, NOW) == NOW + span


@pytest.mark.parametrize(
    "text", ["", "soon", "0d", "-1d", "1y", "2026-13-01", "0001-01-01", "99999d", "2026-03-15"]
)
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_until(text, NOW)


def test_a_refused_end_names_the_spans_that_would_do() -> None:
    for text in ("soon", "1y", "2026-03-15", "0001-01-01"):
        with pytest.raises(BadInput, match=r"1 to 9999 of m, h, d or w, such as 90m, 12h, 3d, 2w"):
            parse_until(text, NOW)


def test_what_has_not_come_yet_is_no_time_to_ask_about() -> None:
    assert parse_past("2026-03-15T12:00:00Z", NOW) == NOW
    with pytest.raises(BadInput, match="a time that has come: it is"):
        parse_past("2026-03-15T12:00:01Z", NOW)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59Z", "1969-12-31"])
def test_a_year_that_not_every_zone_has_is_refused_as_such(text: str) -> None:
    with pytest.raises(BadInput, match="a year from 1970 to 9998"):
        parse_time(text)


def test_a_time_is_shown_with_its_zone() -> None:
    assert datetime.fromisoformat(shown(NOW)) == NOW
    assert shown(None) == "–"
