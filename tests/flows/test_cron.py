import pytest

from flows.cron import FIELDS, cron_schedule
from lori_core.errors import BadInput


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_cannot_be_is_named_with_its_range(field: str) -> None:
    fields = ["*"] * 5
    fields[list(FIELDS).index(field)] = "99"
    with pytest.raises(BadInput) as refusal:
        cron_schedule(" ".join(fields), "UTC")
    assert f"{field} is '99': expected {FIELDS[field]}" in str(refusal.value)


@pytest.mark.parametrize("cron", ["", "* * * *", "@daily", "* * * * * *"])
def test_another_number_of_fields_is_told_as_such(cron: str) -> None:
    with pytest.raises(BadInput, match="five fields: minute, hour, day of month, month, day of"):
        cron_schedule(cron, "UTC")


@pytest.mark.parametrize(
    "cron",
    ["0 3 31 2 *", "0 3 30 feb *", "0 3 30,31 2 ?", "0 3 31 4,6,SEP,nov *", "0 3 30-31 2-2 *"],
)
def test_a_day_that_no_month_has_would_never_come(cron: str) -> None:
    with pytest.raises(BadInput, match="never come"):
        cron_schedule(cron, "UTC")


@pytest.mark.parametrize(
    "cron",
    [
        "0 3 * * *",
        "0 3 29 2 *",  # in leap years
        "0 3 31 2 1",  # on Mondays of February
        "0 3 31 */2 *",
        "0 3 31 2-3 *",
        "0 3 31 11-2 *",
        "0 3 28,31 2 *",
        "0 3 L 2 *",
        "*/5 0-6/2 1,15 jan-mar mon",
    ],
)
def test_what_comes_at_all_is_taken(cron: str) -> None:
    assert cron_schedule(cron, "Europe/Berlin").cron == cron
