"""One sequence: what it knows, what each task cost the earlier ones, what serves, what waits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from dashboard.links import Links, find_links
from dashboard.once import and_forget
from dashboard.pages import sequence_plots as plots
from dashboard.pages.arrivals import just_done
from dashboard.pages.sequence_words import READS, Said, lead, serving
from dashboard.pages.shown import show
from dashboard.plots.figure import Figure
from dashboard.visitors import PageRegistry, PageSequence, Viewing
from dashboard.whole_matrix import grid_csv, grid_json
from lori_core.config import Read
from registry.matrix_view import WINDOW
from registry.plain import LARGEST
from registry.sequence_records import SequenceView
from registry.sequence_view import score_grid, sequence_view

router = APIRouter(include_in_schema=False)

Start = Annotated[int | None, Query(ge=1, le=LARGEST)]
Map = Literal["score", "change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencePage:
    """What the template is given."""

    view: SequenceView
    said: tuple[Said, ...]
    serves: str
    """What serves, in a few words."""
    meaning: str
    """What the read mode that is shown means."""
    map: Map
    heat: Figure | None
    """None: nothing was measured under this read mode."""
    accuracies: Figure | None
    losses: Figure | None
    gaps: Figure | None
    projections: Figure | None
    blocks: Figure | None
    overlap: Figure | None
    links: Links
    window: int
    told: str | None
    """What a form of the queue just did."""


@router.get("/sequences/{sequence}")
def one_sequence(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    read: Read | None = None,
    rows: Start = None,
    columns: Start = None,
    map: Map = "score",
) -> HTMLResponse:
    """The page of a sequence."""
    view = sequence_view(registry, sequence, read, rows=rows, columns=columns)
    page = SequencePage(
        view=view,
        said=lead(view, tuple(each.task for each in view.figures[: view.head.learned])),
        serves=serving(view.head),
        meaning=READS[view.read],
        map=map,
        heat=_heat(view, map),
        accuracies=plots.accuracies(view.figures) if _curved(view) else None,
        losses=plots.losses(view.figures) if _curved(view) else None,
        gaps=plots.gaps(view.gaps) if view.gaps else None,
        projections=plots.capacity_bars(view.capacity.projections)
        if view.capacity.projections
        else None,
        blocks=plots.capacity_bars(view.capacity.blocks) if view.capacity.blocks else None,
        overlap=plots.overlap_map(view.overlaps) if view.overlaps.pairs else None,
        links=find_links(registry.settings),
        window=WINDOW,
        told=just_done(request),
    )
    shown = show(request, visitor, "sequence.html", page, title=sequence, plots=True)
    return shown if page.told is None else and_forget(request, shown)


@router.get("/sequences/{sequence}/matrix.csv")
def matrix_csv(
    visitor: Viewing, registry: PageRegistry, sequence: PageSequence, read: Read
) -> Response:
    """All of R under one read mode, one line a place."""
    grid, covered = score_grid(registry, sequence, read)
    return StreamingResponse(
        _encoded(grid_csv(grid, covered)),
        media_type="text/csv; charset=utf-8",
        headers=_download(f"{sequence}-{read}.csv"),
    )


@router.get("/sequences/{sequence}/matrix.json")
def matrix_json(
    visitor: Viewing, registry: PageRegistry, sequence: PageSequence, read: Read
) -> Response:
    """All of R under one read mode: the JSON of `lori matrix --json`."""
    grid, covered = score_grid(registry, sequence, read)
    return JSONResponse(
        grid_json(sequence, grid, covered), headers=_download(f"{sequence}-{read}.json")
    )


def _heat(view: SequenceView, chosen: Map) -> Figure | None:
    if not view.matrix.measured:
        return None
    whole = view.matrix.whole
    return plots.score_map(whole) if chosen == "score" else plots.change_map(whole)


def _curved(view: SequenceView) -> bool:
    return any(each.average is not None for each in view.figures)


def _download(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    for line in lines:
        yield line.encode()
