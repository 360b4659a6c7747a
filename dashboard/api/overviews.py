"""Sequences as pages show them: the JSON twins of `/` and `/sequences/S`."""

from typing import Annotated

from fastapi import APIRouter, Query

from dashboard.office import KnownSequence, Readable
from lori_core.config import Read
from registry.overviews import OverviewPage, Sort, overviews
from registry.plain import LARGEST
from registry.sequence_records import SequenceView
from registry.sequence_view import sequence_view

router = APIRouter(prefix="/api", tags=["overviews"])

PageNumber = Annotated[int, Query(ge=1, le=LARGEST // 100)]
Part = Annotated[str, Query(max_length=64)]
Start = Annotated[int | None, Query(ge=1, le=LARGEST)]


@router.get("/overviews")
def all_sequences(
    registry: Readable, q: Part = "", sort: Sort = "activity", page: PageNumber = 1
) -> OverviewPage:
    """The sequences whose names hold `q`, 25 a page: versions, champion, worst forgetting, queue."""
    return overviews(registry, q=q.strip(), sort=sort, page=page)


@router.get("/sequences/{sequence}/overview")
def one_sequence(
    registry: Readable,
    sequence: KnownSequence,
    read: Read | None = None,
    rows: Start = None,
    columns: Start = None,
) -> SequenceView:
    """One sequence under one read mode: R, what was lost and how that is known, guards, capacity, queue."""
    return sequence_view(registry, sequence, read, rows=rows, columns=columns)
