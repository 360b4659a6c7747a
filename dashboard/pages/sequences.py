"""All sequences: what each knows, what it lost, what serves, what waits."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from dashboard.pages.shown import show
from dashboard.visitors import PageRegistry, Viewing
from registry.overviews import OverviewPage, Sort, overviews
from registry.plain import LARGEST

router = APIRouter(include_in_schema=False)

PageNumber = Annotated[int, Query(ge=1, le=LARGEST // 100)]
Part = Annotated[str, Query(max_length=64)]
"""A part of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencesPage:
    """What the template is given."""

    view: OverviewPage
    anything: bool
    """Whether there is any sequence at all, whatever is searched for."""


@router.get("/")
def sequences(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    q: Part = "",
    sort: Sort = "activity",
    page: PageNumber = 1,
) -> HTMLResponse:
    """The sequences that match, a page of them."""
    view = overviews(registry, q=q.strip(), sort=sort, page=page)
    anything = bool(view.total or view.q)
    return show(
        request,
        visitor,
        "sequences.html",
        SequencesPage(view=view, anything=anything),
        title="Sequences",
    )
