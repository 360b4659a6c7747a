"""Who may see rows (prompts and answers), and whose nobody sees; all of it an admin's."""

from fastapi import APIRouter

from dashboard.bodies import HideBody, RowsBody, UnhideBody
from dashboard.office import ReadingRowRights, WritingRowRights
from registry.row_rights import HiddenRows, RowRight

router = APIRouter(prefix="/api/rows", tags=["accounts"])


@router.get("/rights")
def row_rights(book: ReadingRowRights) -> tuple[RowRight, ...]:
    """Who may see which rows."""
    return book.row_rights()


@router.post("/allow")
def allow_rows(book: WritingRowRights, body: RowsBody) -> RowRight:
    """Let somebody see the rows of a task, or of every task of a sequence."""
    return book.allow_rows(body.account, body.sequence, body.task)


@router.post("/revoke")
def revoke_rows(book: WritingRowRights, body: RowsBody) -> dict[str, str]:
    """Take a right back, as it was given."""
    book.revoke_rows(body.account, body.sequence, body.task)
    return {"revoked": body.account}


@router.get("/hidden")
def hidden_rows(book: ReadingRowRights) -> tuple[HiddenRows, ...]:
    """Which rows nobody sees."""
    return book.hidden_rows()


@router.post("/hide")
def hide_rows(book: WritingRowRights, body: HideBody) -> HiddenRows:
    """Let nobody see the rows of a task, whatever his right."""
    return book.hide_rows(body.sequence, body.task, body.reason)


@router.post("/unhide")
def unhide_rows(book: WritingRowRights, body: UnhideBody) -> dict[str, str]:
    """Let those see the rows of a task again who have the right."""
    book.unhide_rows(body.sequence, body.task)
    return {"unhidden": body.task}
