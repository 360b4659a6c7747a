"""Two versions on the same tasks: of two sequences, or of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from dashboard.pages.shown import show
from dashboard.plots.figure import Figure
from dashboard.plots.whiskers import Difference as Dot
from dashboard.plots.whiskers import differences
from dashboard.refusals import status_of
from dashboard.visitors import PageRegistry, Viewing
from lori_core.config import Read
from lori_core.errors import BadInput, CheckFailed
from registry.comparing import Comparison, Difference, compare
from registry.plain import LARGEST, one_line

router = APIRouter()

SIZE = 50
"""Tasks on a page."""

OFFERED = 200
"""Sequences that are offered by name."""

READS: tuple[Read, ...] = get_args(Read)
Mode = Literal["", "isolated", "inherited", "cumulative"]
"""A read mode; empty is each one's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """On how many tasks which of the two is better."""

    better: int
    """The second's interval lies above zero."""
    worse: int
    """It lies below."""
    proved: int
    """Proved equal."""
    same_bits: int
    """The same bits, which no certificate covers."""
    open: int
    """The interval holds zero: these rows do not tell."""
    not_compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage:
    """What the page shows."""

    a: str
    b: str
    read: Mode
    """As they were asked for."""
    sequences: tuple[str, ...]
    """Names to choose from."""
    comparison: Comparison | None
    """None: nothing was asked for, or it was refused."""
    tally: Tally | None
    rows: tuple[Difference, ...]
    """One page of them."""
    page: int
    figure: Figure | None
    height: int
    error: str | None


@router.get("/compare")
def compare_page(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    a: Annotated[str, Query(max_length=200)] = "",
    b: Annotated[str, Query(max_length=200)] = "",
    read: Mode = "",
    page: Annotated[int, Query(ge=1, le=LARGEST)] = 1,
) -> Response:
    """Show what the second gains or loses on the tasks that both know."""
    found, error, status = None, None, 200
    if a.strip() and b.strip():
        try:
            found = compare(registry, a.strip(), b.strip(), read or None)
        except (BadInput, CheckFailed) as refusal:
            error, status = one_line(str(refusal)), status_of(refusal)
    elif a.strip() or b.strip():
        error, status = "two versions: expected both; name the other one too", 400
    every = () if found is None else found.differences
    page = min(page, max(1, -(-len(every) // SIZE)))
    rows = every[(page - 1) * SIZE : page * SIZE]
    drawn = [row for row in rows if row.change is not None]
    shown = ComparePage(
        a=a,
        b=b,
        read=read,
        sequences=registry.sequences()[:OFFERED],
        comparison=found,
        tally=None if found is None else tally(every),
        rows=rows,
        page=page,
        figure=_figure(drawn, found) if found is not None and drawn else None,
        height=72 + 26 * max(3, len(drawn)),
        error=error,
    )
    title = "Compare" if found is None else f"{found.b.name} against {found.a.name}"
    return show(
        request, visitor, "compare.html", shown, title=title, plots=bool(drawn), status=status
    )


def tally(rows: Sequence[Difference]) -> Tally:
    """Count on how many tasks the second is better, worse, or not told apart."""
    told = [
        row.change
        for row in rows
        if row.change is not None and row.how not in ("proved", "same_bits")
    ]
    better = sum(change.low > 0 for change in told)
    worse = sum(change.high < 0 for change in told)
    return Tally(
        better=better,
        worse=worse,
        proved=sum(row.how == "proved" for row in rows),
        same_bits=sum(row.how == "same_bits" for row in rows),
        open=len(told) - better - worse,
        not_compared=sum(row.change is None for row in rows),
    )


def _figure(rows: Sequence[Difference], comparison: Comparison) -> Figure:
    dots = [
        Dot(
            name=row.task if row.task == row.other else f"{row.task} / {row.other}",
            value=row.change.value,
            low=row.change.low,
            high=row.change.high,
            proved=row.how == "proved",
            same_bits=row.how == "same_bits",
        )
        for row in rows
        if row.change is not None
    ]
    return differences(dots, x=f"{comparison.b.name} minus {comparison.a.name}, points")
