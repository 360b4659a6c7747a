"""Signing in and out, and the change of one's own password."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from dashboard.attempts import address_key, name_key
from dashboard.forms import Field, refuse_foreign
from dashboard.office import COOKIE, Office, TheOffice
from dashboard.pages.shown import show
from dashboard.visitors import SIGN_IN, Known, Posting, Viewing, Visitor
from lori_core.errors import BadInput, CheckFailed
from registry import sign_ins
from registry.accounts import Accounts, is_printed
from registry.passwords import LONGEST, SHORTEST
from registry.sign_ins import Begun

router = APIRouter(include_in_schema=False)

Next = Annotated[str, Query(alias="next", max_length=20_000)]

_LONGEST_WAY = 2000
NOT_RIGHT = "The name or the password is not right."
NOT_PRINTED = "This is not the token printed at start."


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPage:
    """What the sign-in page shows."""

    onward: str
    """Where to go from here."""
    accounts: bool
    """Whether people sign in by name; else by the token printed at start."""
    name: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPage:
    """What the page to change one's password shows."""

    shortest: int
    longest: int
    error: str | None = None


@router.get("/sign-in")
def sign_in_page(
    request: Request, visitor: Known, office: TheOffice, onward: Next = "/"
) -> Response:
    """Ask who comes; who is known already goes on."""
    if visitor.signed_in:
        return _go(way_onward(onward))
    page = SignInPage(onward=way_onward(onward), accounts=visitor.accounts)
    return show(request, None, "sign_in.html", page, title="Sign in")


@router.post("/sign-in")
def sign_in(
    request: Request,
    visitor: Known,
    office: TheOffice,
    name: Field = "",
    password: Field = "",
    token: Field = "",
    next: Field = "/",
) -> Response:
    """Sign somebody in, under a new secret whatever his browser held."""
    refuse_foreign(request)
    onward = way_onward(next)
    keys = [address_key(office.proxy.address(request))]
    if visitor.accounts:
        keys.append(name_key(name))
    page = SignInPage(onward=onward, accounts=visitor.accounts, name=name[:64])
    if wait := office.attempts.take(*keys):
        return _too_often(request, page, wait)
    begun = _begun(office, visitor, name, password, token)
    if begun is None:
        refused = SignInPage(
            onward=onward,
            accounts=page.accounts,
            name=page.name,
            error=NOT_RIGHT if visitor.accounts else NOT_PRINTED,
        )
        return show(request, None, "sign_in.html", refused, title="Sign in", status=401)
    office.attempts.forget_one(*keys)
    if visitor.signs_out_here and visitor.sign_in is not None:
        sign_ins.sign_out(office.registry, visitor.sign_in)
    return _signed_in(request, office, begun, onward)


@router.post("/sign-out")
def sign_out(visitor: Posting, office: TheOffice) -> Response:
    """End the sign-in, here and not only in the browser."""
    if not visitor.signs_out_here:
        raise CheckFailed("sign-out", "who comes through the proxy signs out there")
    assert visitor.sign_in is not None
    sign_ins.sign_out(office.registry, visitor.sign_in)
    answer = _go(SIGN_IN if visitor.accounts else "/")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return answer


@router.get("/password")
def password_page(request: Request, visitor: Viewing) -> Response:
    """Ask for the old password and a new one."""
    _has_password(visitor)
    return _password_page(request, visitor, None)


@router.post("/password")
def change_password(
    request: Request,
    visitor: Posting,
    office: TheOffice,
    current: Field = "",
    password: Field = "",
    again: Field = "",
) -> Response:
    """Change one's own password; every other browser of his is signed out."""
    _has_password(visitor)
    name = visitor.actor.name
    if password != again:
        return _password_page(request, visitor, "The new password is not the same twice.", 400)
    keys = (address_key(office.proxy.address(request)), name_key(name))
    if wait := office.attempts.take(*keys):
        said = f"Too many tries. Wait {_minutes(wait)}."
        return _wait(_password_page(request, visitor, said, 429), wait)
    if sign_ins.with_password(office.registry, name, current) is None:
        return _password_page(request, visitor, "The current password is not right.", 403)
    office.attempts.forget_one(*keys)
    try:
        Accounts(office.registry, visitor.actor).set_password(name, password, current)
    except BadInput as error:
        return _password_page(request, visitor, str(error), 400)
    begun = sign_ins.with_password(office.registry, name, password)
    return _go("/") if begun is None else _signed_in(request, office, begun, "/")


def way_onward(wanted: str) -> str:
    """Where to go after signing in: a path of this server, whatever a link said.

    >>> way_onward("/sequences/assistant?read=inherited")
    '/sequences/assistant?read=inherited'
    >>> way_onward("//evil.example"), way_onward("https://evil.example"), way_onward("/sign-out")
    ('/', '/', '/')
    """
    if not wanted.startswith("/") or wanted[1:2] in {"/", "\\"} or len(wanted) > _LONGEST_WAY:
        return "/"
    if "\\" in wanted or not wanted.isprintable():
        return "/"
    path = urlsplit(wanted).path
    return "/" if path in {SIGN_IN, "/sign-out"} else quote(wanted, safe="/?&=%:@+,;~!*'()$#")


def _begun(office: Office, visitor: Visitor, name: str, password: str, token: str) -> Begun | None:
    if visitor.accounts:
        return sign_ins.with_password(office.registry, name, password)
    if office.token is None or not is_printed(token, office.token):
        return None
    return sign_ins.with_printed_token(office.registry, office.token)


def _signed_in(request: Request, office: Office, begun: Begun, onward: str) -> Response:
    answer = _go(onward)
    answer.set_cookie(
        COOKIE,
        begun.secret,
        max_age=int(sign_ins.LONGEST.total_seconds()),
        path="/",
        secure=office.proxy.is_https(request),
        httponly=True,
        samesite="lax",  # strict would sign out who follows a link from a chat
    )
    return answer


def _too_often(request: Request, page: SignInPage, wait: int) -> Response:
    said = SignInPage(
        onward=page.onward,
        accounts=page.accounts,
        name=page.name,
        error=f"Too many tries. Wait {_minutes(wait)}.",
    )
    return _wait(show(request, None, "sign_in.html", said, title="Sign in", status=429), wait)


def _password_page(
    request: Request, visitor: Visitor, error: str | None, status: int = 200
) -> Response:
    page = PasswordPage(shortest=SHORTEST, longest=LONGEST, error=error)
    return show(request, visitor, "password.html", page, title="Your password", status=status)


def _has_password(visitor: Visitor) -> None:
    if visitor.way != "password":
        raise CheckFailed(
            "password", "who signs in by the proxy or the printed token has none here"
        )


def _wait(answer: Response, seconds: int) -> Response:
    answer.headers["retry-after"] = str(seconds)
    return answer


def _minutes(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"


def _go(where: str) -> RedirectResponse:
    return RedirectResponse(where, status_code=303)
