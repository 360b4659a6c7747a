import time
from datetime import UTC, datetime, timedelta

import pytest

from flows.times import parse_at, parse_past, parse_time, parse_until, shown
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


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("22:00Z", datetime(2026, 3, 15, 22, tzinfo=UTC)),
        ("22:00+01:00", datetime(2026, 3, 15, 21, tzinfo=UTC)),
        ("12:00Z", datetime(2026, 3, 16, 12, tzinfo=UTC)),  # it is 12 now
        ("9:30:15Z", datetime(2026, 3, 16, 9, 30, 15, tzinfo=UTC)),
        ("00:30+14:00", datetime(2026, 3, 16, 10, 30, tzinfo=UTC)),  # there it is 02:00 of the 16th
        ("23:00-1100", datetime(2026, 3, 16, 10, tzinfo=UTC)),
        ("90m", datetime(2026, 3, 15, 13, 30, tzinfo=UTC)),
        ("2026-04-01T00:00:00Z", datetime(2026, 4, 1, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_is_the_next_such_moment(text: str, when: datetime) -> None:
    assert parse_at(text, NOW) == when


def test_a_time_of_day_without_a_zone_is_of_this_machine_s_clock_also_where_that_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        before = datetime(2026, 3, 28, 21, 30, tzinfo=UTC)  # 22:30 there; at 2 clocks go forward
        assert parse_at("22:45", before) == datetime(2026, 3, 28, 21, 45, tzinfo=UTC)
        assert parse_at("22:00", before) == datetime(2026, 3, 29, 20, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["24:00", "22", "22:60", "22:00 Uhr", "T22:00", "22:00+25:00"])
def test_what_is_no_time_of_day_is_refused_and_says_how_one_looks(text: str) -> None:
    with pytest.raises(BadInput, match=r"22:00 or 22:00\+01:00"):
        parse_at(text, NOW)


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
