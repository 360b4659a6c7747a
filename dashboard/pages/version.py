"""The versions of a sequence, one version, the answers it changed, and its downloads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from dashboard.bodies import Name
from dashboard.downloads import Downloads, Wanted, pieces
from dashboard.forms import refuse_elsewhere
from dashboard.links import find_links
from dashboard.office import VersionNumber
from dashboard.pages.shown import show
from dashboard.plots.curves import Line, Point, curves
from dashboard.plots.density import density
from dashboard.plots.figure import Figure
from dashboard.plots.losses import LossLine, losses
from dashboard.plots.whiskers import Difference, differences
from dashboard.visitors import PageRegistry, PageSequence, Viewing
from lori_core.config import Read
from lori_core.digests import canonical_json
from lori_core.errors import NotFound
from registry.changed_answers import ChangedAnswers, Kind, changed_answers
from registry.plain import LARGEST
from registry.store import Registry
from registry.version_changes import VersionChanges
from registry.version_list import version_list
from registry.version_notes import Losses
from registry.version_safety import SafetyOfTask
from registry.version_view import LayerMask, VersionView, version_view

router = APIRouter(include_in_schema=False)

PageNumber = Annotated[int, Query(ge=1, le=LARGEST)]
OptionalTask = Annotated[Name | None, Query()]
OptionalNumber = Annotated[int | None, Query(ge=0, le=LARGEST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRow:
    """One projection over all blocks, for the table."""

    projection: str
    shares: tuple[float | None, ...]
    """By block; None where the block has none of this name."""
    owned: int
    entries: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTable:
    """Where in the base the task may write."""

    blocks: tuple[str, ...]
    rows: tuple[MaskRow, ...]
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyPart:
    """One refusal task and its plot."""

    safety: SafetyOfTask
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPage:
    """What the page of one version shows."""

    view: VersionView
    run: str | None
    """Address of its MLflow run."""
    model: str | None
    """Address of its model version in MLflow."""
    losses: Figure | None
    mask: MaskTable | None
    """None where the sizes of the matrices are not known: the counts stand in the view."""
    changes: Figure | None
    safety: tuple[SafetyPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersPage:
    """What the page of changed answers shows."""

    view: ChangedAnswers
    tasks: tuple[str, ...]
    """Those learned by then, to choose from."""
    hidden: bool
    """Whether nobody sees the rows of this task, whatever his right."""


def _downloads(request: Request) -> Downloads:
    found = request.app.state.downloads
    assert isinstance(found, Downloads)
    return found


TheDownloads = Annotated[Downloads, Depends(_downloads)]


@router.get("/sequences/{sequence}/versions")
def versions(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    page: PageNumber = 1,
) -> Response:
    """Show every version, newest first."""
    view = version_list(registry, sequence, page=page)
    return show(request, visitor, "versions.html", view, title=f"Versions of {sequence}")


@router.get("/sequences/{sequence}/versions/{version}")
def version(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    version: VersionNumber,
    read: Read | None = None,
    page: PageNumber = 1,
) -> Response:
    """Show one version: what it learned from, what it cost the others, how safe it is."""
    view = version_view(registry, sequence, version, read=read, page=page)
    title = f"{sequence}/{version} · {view.task}"
    return show(
        request, visitor, "version.html", version_page(registry, view), title=title, plots=True
    )


@router.get("/sequences/{sequence}/versions/{version}/answers")
def answers(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    version: VersionNumber,
    task: OptionalTask = None,
    read: Read | None = None,
    before: OptionalNumber = None,
    kind: Kind = "changed",
    page: PageNumber = 1,
) -> Response:
    """Show the rows whose answer changed, side by side, to who may see rows."""
    learned = learned_by(registry, sequence, version)
    chosen = task or learned[-1]
    allowed = visitor.sees_rows(sequence, chosen)
    view = changed_answers(
        registry,
        sequence,
        version,
        chosen,
        read=read,
        before=before,
        kind=kind,
        page=page,
        rows=allowed,
    )
    hidden = (sequence, chosen) in visitor.rows.hidden
    shown = AnswersPage(view=view, tasks=learned, hidden=hidden)
    title = f"Changed answers of {chosen} at {sequence}/{version}"
    return show(request, visitor, "answers.html", shown, title=title)


@router.get("/sequences/{sequence}/versions/{version}/certificate.json")
def certificate(
    visitor: Viewing, registry: PageRegistry, sequence: PageSequence, version: VersionNumber
) -> Response:
    """The certificate, as the bytes whose sha256 the registry keeps."""
    document = registry.certificate(sequence, version).document
    return Response(
        canonical_json(document),
        media_type="application/json",
        headers=_as_file(f"{sequence}-{version}-certificate.json"),
    )


@router.get("/sequences/{sequence}/versions/{version}/adapter.zip")
async def adapter(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    version: VersionNumber,
    downloads: TheDownloads,
    task: OptionalTask = None,
    read: Read | None = None,
) -> Response:
    """What a task reads at a version as a plain PEFT folder; its digest is recorded like any export's."""
    refuse_elsewhere(request)
    chosen, mode = await run_in_threadpool(_chosen, registry, sequence, version, task, read)
    wanted = Wanted(sequence=sequence, version=version, task=chosen, read=mode)
    packed = await downloads.adapter_zip(wanted)
    return StreamingResponse(
        pieces(packed),
        media_type="application/zip",
        headers={**_as_file(f"{wanted.name}.zip"), "content-length": str(packed.size)},
    )


def learned_by(registry: Registry, sequence: str, version: int) -> tuple[str, ...]:
    """The tasks learned by a version, in order.

    Raises:
        NotFound: there is no such version.
    """
    registry.version(sequence, version)
    return registry.sequence(sequence).tasks[:version]


def trained_read(registry: Registry, sequence: str) -> Read:
    """The mode a sequence is trained under, which is the one it serves under."""
    return cast(Read, registry.sequence(sequence).adapter.get("read", "inherited"))


def version_page(registry: Registry, view: VersionView) -> VersionPage:
    """A version with its plots and links."""
    links = find_links(registry.settings)
    recorded = view.recorded
    return VersionPage(
        view=view,
        run=links.run(recorded.run_id),
        model=links.model_version(recorded.model_name, recorded.model_version),
        losses=_losses(view.learning.calibration, view.learning.training),
        mask=mask_table(view.mask.layers),
        changes=_changes(view.changes),
        safety=tuple(SafetyPart(safety=each, figure=_safety(each)) for each in view.safety),
    )


def mask_table(layers: Sequence[LayerMask]) -> MaskTable | None:
    """Shares by block and projection; None where a matrix's size is not known."""
    if not layers or any(each.entries is None for each in layers):
        return None
    blocks = tuple(dict.fromkeys(each.block or "other" for each in layers))
    projections = tuple(dict.fromkeys(each.projection for each in layers))
    found = {(each.projection, each.block or "other"): each for each in layers}
    rows = []
    for projection in projections:
        mine = [each for each in layers if each.projection == projection]
        rows.append(
            MaskRow(
                projection=projection,
                shares=tuple(_share(found.get((projection, block))) for block in blocks),
                owned=sum(each.owned for each in mine),
                entries=sum(each.entries or 0 for each in mine),
            )
        )
    figure = density(blocks, projections, [row.shares for row in rows])
    return MaskTable(blocks=blocks, rows=tuple(rows), figure=figure)


def _share(mask: LayerMask | None) -> float | None:
    return None if mask is None or not mask.entries else mask.owned / mask.entries


def _losses(calibration: Losses | None, training: Losses | None) -> Figure | None:
    lines = [
        LossLine(
            name=name,
            steps=tuple(point.step for point in curve.points),
            losses=tuple(point.loss for point in curve.points),
        )
        for name, curve in (("calibration", calibration), ("training", training))
        if curve is not None
    ]
    return losses(lines) if lines else None


def _changes(changes: VersionChanges) -> Figure | None:
    rows = [
        Difference(
            name=each.task,
            value=each.score.change.value,
            low=None if each.score.how == "proved" else each.score.change.low,
            high=None if each.score.how == "proved" else each.score.change.high,
            proved=each.score.how == "proved",
            same_bits=each.score.how == "same_bits",
        )
        for each in changes.tasks
        if each.score.change is not None
    ]
    # A picture of proved zeros alone would say nothing that the table does not.
    return None if all(row.proved for row in rows) else differences(rows, x="change, points")


def _safety(safety: SafetyOfTask) -> Figure:
    lines = []
    for name, key in (("harmful refused", "refused"), ("harmless answered", "answered")):
        points = tuple(
            Point(x=point.version, value=part.value, low=part.low, high=part.high, n=part.n)
            for point in safety.versions
            if (part := point.refused if key == "refused" else point.answered) is not None
        )
        if points:
            lines.append(Line(name=name, points=points))
    return curves(lines, x="version (0 is the bare base)", y="share of rows, %")


def _chosen(
    registry: Registry, sequence: str, version: int, task: str | None, read: Read | None
) -> tuple[str, Read]:
    learned = learned_by(registry, sequence, version)
    if task is not None and task not in learned:
        raise NotFound(f"task {task!r} at {sequence}/{version}", f"one of {', '.join(learned)}")
    return task or learned[-1], read or trained_read(registry, sequence)


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
