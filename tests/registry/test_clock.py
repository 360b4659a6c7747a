from datetime import UTC, datetime, timedelta

from registry.clock import now


def test_now_is_aware_and_utc() -> None:
    assert now().tzinfo is UTC
    assert abs(now() - datetime.now(UTC)) < timedelta(seconds=5)
