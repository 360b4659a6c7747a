from datetime import UTC, datetime, timedelta

from registry.clock import json_time, now


def test_now_is_aware_and_utc() -> None:
    assert now().tzinfo is UTC
    assert abs(now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_programs_are_told_every_time_in_one_form() -> None:
    noon = datetime(2026, 3, 15, 12, tzinfo=UTC)
    assert json_time(datetime.fromisoformat("2026-03-15T13:00:00+01:00")) == "2026-03-15T12:00:00Z"
    assert datetime.fromisoformat(json_time(noon)) == noon
