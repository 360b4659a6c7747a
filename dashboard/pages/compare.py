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

router = APIRouter(include_in_schema=False)

SIZE = 50
"""Tasks on a page."""

FEW = 6
"""Tasks that are told by name in a sentence."""

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
    unmeasured: str
    """The tasks of both that neither was measured on, in a sentence; empty: there is none."""
    measure: str
    """The commands that measure them."""


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
        unmeasured="" if found is None else unmeasured(found),
        measure="" if found is None else measure(found),
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


def unmeasured(found: Comparison) -> str:
    """Which tasks of both were measured at neither, and under what read."""
    names = found.unmeasured
    if not names:
        return ""
    a, b = found.a, found.b
    listed = ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
    where = (
        f"under the {a.read} read"
        if a.read == b.read
        else f"{a.name} under the {a.read} read, {b.name} under the {b.read} read"
    )
    return (
        f"{len(names)} task{'' if len(names) == 1 else 's'} with one test set in both"
        f" ({listed}) {'was' if len(names) == 1 else 'were'} measured neither at {a.name} nor at {b.name}, {where}: nothing is known of"
        " what changed."
    )


def measure(found: Comparison) -> str:
    """The commands that measure what is missing, one a line."""
    sides = [side for side in (found.a, found.b) if side.version]
    lines = [f"lori evaluate {side.sequence} --read {side.read}" for side in sides]
    return "\n".join(dict.fromkeys(lines))


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
