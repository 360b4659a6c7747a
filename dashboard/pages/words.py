"""How numbers and times are written on a page: the filters of the templates.

A value is a fraction and is written as percent; a change is written in points. What is missing is a dash
with its name, never a zero. Minus is a true minus, as wide as plus, so that signs stand in one column.
"""

from datetime import UTC, datetime
from typing import Protocol

from markupsafe import Markup

MINUS = "\N{MINUS SIGN}"


class Measured(Protocol):
    """Anything that was measured: a value, its interval at 95 % and its rows."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102


def percent(value: float | None) -> Markup:
    """`93.8` of 0.938; a dash for what was not measured."""
    return MISSING if value is None else Markup(_fixed(100 * value, 1))


def points(value: float | None) -> Markup:
    """`+1.25` of 0.0125, in points; the word `undefined` where it is."""
    return UNDEFINED if value is None else Markup(_signed(100 * value))


def figure(cell: Measured | None) -> Markup:
    """`93.8 [91.2, 95.7] n 500`: a score with its interval and its rows."""
    if cell is None:
        return MISSING
    return _figure(
        _fixed(100 * cell.value, 1),
        _fixed(100 * cell.low, 1),
        _fixed(100 * cell.high, 1),
        cell.n,
    )


def change(term: Measured | None) -> Markup:
    """`+1.25 [−0.40, +2.90] n 500`: a change in points with its interval and its rows."""
    if term is None:
        return MISSING
    return _figure(
        _signed(100 * term.value), _signed(100 * term.low), _signed(100 * term.high), term.n
    )


def moment(at: datetime | None) -> Markup:
    """A time as `<time>`, in UTC, to the minute."""
    if at is None:
        return MISSING
    utc = at.astimezone(UTC)
    whole = utc.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        whole, whole, utc.strftime("%Y-%m-%d %H:%M")
    )


def span(seconds: float | None) -> Markup:
    """A length of time in its two largest units: `3 min`, `2 h 5 min`, `4 d 1 h`."""
    if seconds is None:
        return MISSING
    if seconds < 10:
        return Markup(f"{seconds:.1f}&nbsp;s")
    whole = round(seconds)
    for size, name, smaller, its in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            more = f" {rest}&nbsp;{its}" if rest and not (name == "min" and whole >= 600) else ""
            return Markup(f"{whole // size}&nbsp;{name}{more}")
    return Markup(f"{whole}&nbsp;s")


def short(digest: str | None) -> Markup:
    """The first 12 hex of a digest, the whole in its title."""
    if not digest:
        return MISSING
    return Markup('<code class="digest" title="{}">{}</code>').format(digest, digest[:12])


def size(count: int | None) -> Markup:
    """Bytes in the largest unit that leaves a number above one: `1.4 MB`."""
    if count is None:
        return MISSING
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return Markup(f"{amount:.0f}&nbsp;{unit}" if unit == "B" else f"{amount:.1f}&nbsp;{unit}")


def whole(count: int | None) -> Markup:
    """A count with thin spaces between thousands: `12 345`."""
    return (
        MISSING if count is None else Markup(f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))
    )


FILTERS = {
    "percent": percent,
    "points": points,
    "figure": figure,
    "change": change,
    "moment": moment,
    "span": span,
    "short": short,
    "bytes": size,
    "whole": whole,
}

MISSING = Markup('<span class="missing" title="not measured">–</span>')
UNDEFINED = Markup('<span class="missing">undefined</span>')


def _fixed(value: float, digits: int) -> str:
    written = f"{value:.{digits}f}"
    # what rounds to zero is zero: no sign
    return written.lstrip("-") if float(written) == 0 else written.replace("-", MINUS)


def _signed(value: float) -> str:
    written = f"{value:+.2f}"
    return "0.00" if float(written) == 0 else written.replace("-", MINUS)


def _figure(value: str, low: str, high: str, n: int) -> Markup:
    # Written out of numbers alone, so that nothing has to be escaped: a page has hundreds of these.
    return Markup(
        f'<span class="figure"><span class="value">{value}</span> '
        f'<span class="interval">[{low}, {high}]</span> <span class="n">n&nbsp;{n:d}</span></span>'
    )
