"""One version and what it changed: the JSON twins of the pages about versions."""

from typing import Annotated

from fastapi import APIRouter, Query

from dashboard.bodies import Name
from dashboard.office import KnownSequence, Readable, ReadingRows, VersionNumber
from lori_core.config import Read
from registry.changed_answers import ChangedAnswers, Kind, changed_answers
from registry.plain import LARGEST
from registry.version_list import VersionList, version_list
from registry.version_view import VersionView, version_view

router = APIRouter(prefix="/api/sequences", tags=["versions"])

PageNumber = Annotated[int, Query(ge=1, le=LARGEST)]


@router.get("/{sequence}/version-list")
def versions_page(registry: Readable, sequence: KnownSequence, page: PageNumber = 1) -> VersionList:
    """The versions of a sequence, newest first, 50 a page."""
    return version_list(registry, sequence, page=page)


@router.get("/{sequence}/versions/{version}/overview")
def version_overview(
    registry: Readable,
    sequence: KnownSequence,
    version: VersionNumber,
    read: Read | None = None,
    page: PageNumber = 1,
) -> VersionView:
    """One version: data, settings, losses, mask, changes of earlier tasks (25 a page), safety, files."""
    return version_view(registry, sequence, version, read=read, page=page)


@router.get("/{sequence}/versions/{version}/answers")
def answers(
    registry: Readable,
    seen: ReadingRows,
    sequence: KnownSequence,
    version: VersionNumber,
    task: Annotated[Name, Query()],
    read: Read | None = None,
    before: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    kind: Kind = "changed",
    page: PageNumber = 1,
) -> ChangedAnswers:
    """Rows of a task whose answer changed since an earlier version, 50 a page.

    `rows` is null for who may not see the rows of this task: the counts alone come back.
    """
    return changed_answers(
        registry,
        sequence,
        version,
        task,
        read=read,
        before=before,
        kind=kind,
        page=page,
        rows=seen.sees(sequence, task),
    )
