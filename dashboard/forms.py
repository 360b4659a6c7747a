"""What a form must bring before it is listened to: it comes from a page of ours, and holds its secret.

A field that was left out is empty text: what is wrong with it is said by who takes the decision, in the
same line as everywhere else.
"""

import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Form
from starlette.requests import HTTPConnection

from lori_core.errors import CheckFailed

Field = Annotated[str, Form(max_length=20_000)]
"""One field, given the default "" by its handler."""

CSRF_HEADER = "x-csrf-token"


def refuse_foreign(request: HTTPConnection) -> None:
    """Return if what was sent may come from a page of ours, as far as the browser says.

    Raises:
        CheckFailed: `form`: a page elsewhere sent it.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise CheckFailed("form", "it was sent by a page elsewhere")
    for origin in request.headers.getlist("origin"):
        if _place(origin) != _named(request):
            raise CheckFailed("form", "it was sent by a page elsewhere")


def refuse_elsewhere(request: HTTPConnection) -> None:
    """Return if a download was asked for by a page of ours, or by a person himself.

    It is only read, but takes minutes of work and is signed: no page elsewhere may have it made.

    Raises:
        CheckFailed: `form`: a page elsewhere asked.
    """
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise CheckFailed("form", "a page elsewhere asked for it; ask from the page here")


def refuse_stale(sent: str, expected: str) -> None:
    """Return if a form or request holds the secret of the sign-in.

    Raises:
        CheckFailed: `form`: it holds none, or that of another sign-in.
    """
    if not expected or not hmac.compare_digest(_bytes(sent), _bytes(expected)):
        raise CheckFailed(
            "form", "the page it came from is older than this sign-in; load it again and resend"
        )


def _named(request: HTTPConnection) -> str:
    return _plain(request.headers.get("host", ""))


def _place(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    whole = parts.scheme in {"http", "https"} and not (parts.path or parts.query or parts.fragment)
    return _plain(parts.netloc) if whole else None


def _plain(host: str) -> str:
    """A host as browsers write it: no port where it is the usual one (a proxy may add it)."""
    return host.lower().removesuffix(":443").removesuffix(":80")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
