"""The promotions page as data."""

from typing import Annotated

from fastapi import APIRouter, Query

from dashboard.bodies import Time
from dashboard.office import KnownSequence, ReadingDesk
from registry.plain import LARGEST
from registry.promotion_view import PromotionView, promotion_view
from registry.timeline import Shown

router = APIRouter(prefix="/api/sequences", tags=["promotions"])

Page = Annotated[int, Query(ge=1, le=LARGEST)]
Number = Annotated[int | None, Query(ge=1, le=LARGEST)]


@router.get("/{sequence}/promotions/overview")
def promotion_overview(
    desk: ReadingDesk,
    sequence: KnownSequence,
    version: Number = None,
    report: Number = None,
    at: Annotated[Time | None, Query()] = None,
    only: Shown = "all",
    page: Page = 1,
    rules: Page = 1,
    tasks: Page = 1,
) -> PromotionView:
    """What serves and what might, the newest gate report, requests that wait, history and log.

    Nothing is judged: see `POST /api/sequences/{sequence}/gate`.
    """
    return promotion_view(
        desk.registry,
        sequence,
        desk.actor,
        version=version,
        report=report,
        at=at,
        shown=only,
        page=page,
        rules=rules,
        tasks=tasks,
    )
