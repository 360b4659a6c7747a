"""What a form just did, told once to who sent it.

The redirect after a form sets a short-lived cookie, and the page it leads to reads it and takes it away.
No address says what was done, so no link can: the cookie is of this sign-in, about one page, and holds a
word the page knows and a number.
"""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from dashboard.office import Office
from dashboard.visitors import visitor_of
from registry.plain import LARGEST

COOKIE = "lori_told"

_SECONDS = 60
"""How long a page that was never loaded keeps it waiting."""

Answer = TypeVar("Answer", bound=Response)


def lead_to(
    request: Request, page: str, done: str, number: int = 0, *, rest: str = ""
) -> RedirectResponse:
    """Lead from a form to a page, which will say what was done.

    Args:
        request: the form.
        page: its path.
        done: one of the words the page knows.
        number: of what it was done to; 0 for none.
        rest: query and anchor of the page's address.
    """
    answer = RedirectResponse(f"{page}{rest}", status_code=303)
    answer.set_cookie(
        COOKIE,
        f"{done}:{number}:{_about(request, page)}",
        max_age=_SECONDS,
        path="/",
        secure=_is_https(request),
        httponly=True,
        samesite="strict",
    )
    return answer


def told_once(request: Request, lines: Mapping[str, str]) -> str | None:
    """The line of what was just done, where this page is to say it; None for whatever is not ours.

    Whoever shows it gives its answer to `and_forget`.
    """
    done, _, rest = request.cookies.get(COOKIE, "").partition(":")
    number, _, about = rest.partition(":")
    line = lines.get(done)
    known = number.isascii() and number.isdigit() and len(number) <= len(str(LARGEST))
    if line is None or not known or about != _about(request, request.url.path):
        return None
    return line.format(number)


def and_forget(request: Request, answer: Answer) -> Answer:
    """The answer of a page that told what was done, which takes the cookie away."""
    if COOKIE in request.cookies:
        answer.delete_cookie(
            COOKIE,
            path="/",
            secure=_is_https(request),
            httponly=True,
            samesite="strict",
        )
    return answer


def _is_https(request: Request) -> bool:
    office = request.app.state.office
    assert isinstance(office, Office)
    return office.proxy.is_https(request)


def _about(request: Request, page: str) -> str:
    """Whose it is and which page's, in letters that a cookie may hold."""
    return f"{visitor_of(request).sign_in}:{quote(page, safe='')}"
