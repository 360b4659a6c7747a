"""A page from its template and its view model."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from dashboard.pages.words import FILTERS
from dashboard.safety import page_headers
from dashboard.static_files import static_url
from dashboard.visitors import Visitor

TEMPLATES = Path(__file__).parents[1] / "templates"


def show(
    request: Request,
    visitor: Visitor | None,
    template: str,
    page: object,
    *,
    title: str,
    plots: bool = False,
    status: int = 200,
    here: str | None = None,
    sequence: str | None = None,
) -> HTMLResponse:
    """Render a template of `dashboard/templates`.

    It is given `page`, `visitor`, `title`, `plots`, `here` (the path asked for), `sequence` (the name in
    the path, or None) and `query`, which makes the query string of this page with some of it changed:
    `query({"page": 2})`; a value of None leaves the key out.

    Args:
        request: what is answered.
        visitor: who looks; None where nobody knows (the sign-in page, an error).
        template: its file name.
        page: the view model.
        title: what the page is about, in a few words; the heading and the tab.
        plots: whether it draws any: they alone may use inline styles.
        status: of the answer.
        here: path of the page, where it is shown in answer to a form that was sent to another.
        sequence: whose page it is, where the path does not say.
    """
    path = here or request.url.path
    content = (
        environment()
        .get_template(template)
        .render(
            page=page,
            visitor=visitor,
            title=title,
            plots=plots,
            here=path,
            sequence=sequence or request.path_params.get("sequence"),
            query=changed_query(request, here),
        )
    )
    return HTMLResponse(content, status_code=status, headers=page_headers(plots=plots))


@cache
def environment() -> Environment:
    """Where templates are found and rendered; one for the process (`parts/ui.html` for live parts)."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    made.filters.update(FILTERS)
    made.globals["static"] = static_url
    return made


def changed_query(request: Request, here: str | None) -> Callable[[Mapping[str, object]], str]:
    """Makes addresses of a page with some of its question changed; None leaves a key out."""
    now = dict(request.query_params)

    def changed(changes: Mapping[str, object]) -> str:
        kept = {key: value for key, value in {**now, **changes}.items() if value is not None}
        return f"{here or ''}?{urlencode(kept)}" if kept else here or request.url.path

    return changed
