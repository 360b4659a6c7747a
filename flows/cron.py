"""Cron expressions as people type them: five fields that mean something, and a day that comes."""

import re
from typing import TYPE_CHECKING

from lori_core.errors import BadInput

if TYPE_CHECKING:
    from prefect.client.schemas.schedules import CronSchedule

FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of month": "1 to 31",
    "month": "1 to 12 or jan to dec",
    "day of week": "0 to 7 (0 and 7 are Sunday) or sun to sat",
}
"""The fields in their order, and what each may be."""

_EXAMPLE = "For example `0 3 * * *`: every day at 3."
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = dict(zip(_NAMES, (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))
"""The most each month has."""


def cron_schedule(cron: str, timezone: str) -> "CronSchedule":
    """Prefect's schedule of an expression.

    Raises:
        BadInput: not five fields, one that cannot be, or a day that never comes; names the field.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    fields = cron.split()
    if len(fields) != len(FIELDS):
        raise BadInput(f"--cron {cron!r}", f"five fields: {', '.join(FIELDS)}", _EXAMPLE)
    try:
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        raise _bad_field(cron, fields) from error
    if _never(fields):
        raise BadInput(
            f"--cron {cron!r}: no such month has a day {fields[2]}, so it would never come",
            "a day of month that comes",
            "`L` is the last day of each month.",
        )
    return schedule


def _bad_field(cron: str, fields: list[str]) -> BadInput:
    """Each is tried alone among stars: what refuses it is what would have read the schedule."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    for position, (name, allowed) in enumerate(FIELDS.items()):
        alone = ["*"] * len(FIELDS)
        alone[position] = fields[position]
        try:
            CronSchedule(cron=" ".join(alone))
        except ValidationError:
            return BadInput(f"--cron {cron!r}: {name} is {fields[position]!r}", allowed, _EXAMPLE)
    return BadInput(f"--cron {cron!r}", f"five fields: {', '.join(FIELDS)}", _EXAMPLE)


def _never(fields: list[str]) -> bool:
    """Whether every day that is asked for is past the end of every month that is.

    What is no plain number, name or range is taken for one that comes. A day of the week comes too:
    cron fires on either.
    """
    _, _, days, months, weekday = (field.lower() for field in fields)
    numbers = [re.fullmatch(r"(\d+)(?:-(\d+))?(?:/\d+)?", part) for part in days.split(",")]
    if weekday not in ("*", "?"):
        return False
    earliest = [
        1 if each is None else min(int(each[1]), int(each[2] or each[1])) for each in numbers
    ]
    return min(earliest) > max(_longest(part) for part in months.split(","))


def _longest(months: str) -> int:
    """The most days a month of this part of the field has."""
    named = list(_DAYS)
    first, _, last = months.partition("-")
    ends = [named.index(each) + 1 if each in _DAYS else each for each in (first, last or first)]
    if not all(isinstance(each, int) or each.isdigit() for each in ends):
        return 31
    start, end = (int(each) for each in ends)
    return max(list(_DAYS.values())[start - 1 : end], default=31)
