"""Refusals and our own bugs as answers: a page where a browser asked for one, JSON everywhere else.

A program asks under `/api/`, or does not say that it takes HTML: it gets `{"error": "<one line>"}`. No
answer holds a trace.
"""

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from dashboard.pages.shown import show
from dashboard.refusals import ALWAYS, SAID, refusal
from dashboard.visitors import visitor_of
from registry.plain import one_line

_TITLES = {
    400: "This cannot be meant",
    401: "Nobody is signed in",
    403: "This is not yours to do",
    404: "Nothing is here",
    405: "Not this way",
    409: "A check said no",
    413: "Too large",
    429: "Too many tries",
    500: "An error of ours",
    503: "Something is away",
}
_ADVICE = {
    400: "Nothing was changed. Go back, and correct what is named above.",
    401: "Sign in, and try again.",
    403: "Nothing was changed. Another role may be needed; an admin gives it.",
    404: "The name may be misspelt, or what it named was removed.",
    405: "This address is there, but it does not take what was sent.",
    409: "Nothing was changed. What stands now may not be what you saw: load the page again.",
    413: "Nothing was changed. Send less.",
    429: "Wait a few minutes, and try again.",
    500: "Nothing you sent is to blame. What happened is in the server's log.",
    503: "Nothing was changed. It may be back in a moment: load the page again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """What an error page shows."""

    status: int
    line: str
    """What was refused, in one line; empty where the title says it all."""
    advice: str


def refuse(request: Request, status: int, line: str) -> Response:
    """The answer to a request that is refused, or that failed."""
    if not wants_page(request):
        return refusal(status, line)
    said = "" if line == SAID.get(status) else one_line(line)
    page = ErrorPage(status=status, line=said, advice=_ADVICE.get(status, ""))
    title = _TITLES.get(status, "This did not work")
    answer = show(request, visitor_of(request), "error.html", page, title=title, status=status)
    for name, value in ALWAYS.items():  # a bug of ours is answered outside the door
        answer.headers.setdefault(name, value)
    return answer


def wants_page(request: Request) -> bool:
    """Whether a person asks, through a browser."""
    path = request.url.path
    if path.startswith(("/api/", "/static/")):
        return False
    return "text/html" in request.headers.get("accept", "")
