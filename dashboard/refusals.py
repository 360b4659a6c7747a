"""Errors as answers: one line and a status, never a trace; JSON `{"error": "<one line>"}` for programs.

400 a request that cannot be meant · 401 no token, or none we take · 403 a role that may not · 404 nothing of
that name · 405 a method a path has not · 409 a check said no (a gate, a moved champion) · 413 too large ·
503 a store that is away. 500 is our own bug: its trace is in the server's log alone.
"""

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from lori_core.errors import BadInput, CheckFailed, NotFound, Unavailable
from registry.accounts import TokenRefused
from registry.plain import one_line
from registry.wire import API, API_HEADER

ALWAYS = {
    API_HEADER: str(API),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer, unless the answer says otherwise."""

_NOT_ALLOWED = ("role", "form")
SAID = {404: "path: nothing is here", 405: "method: this path does not have it"}
"""What is said where nothing more is known."""


def refusal(status: int, line: str) -> JSONResponse:
    """An error as JSON."""
    headers = {**ALWAYS, "www-authenticate": "Bearer"} if status == 401 else ALWAYS
    return JSONResponse({"error": one_line(line)}, status_code=status, headers=headers)


def status_of(error: BadInput | CheckFailed) -> int:
    """The status that a refusal is answered with."""
    match error:
        case CheckFailed():
            return 403 if error.check in _NOT_ALLOWED else 409
        case TokenRefused():
            return 401
        case NotFound():
            return 404
        case Unavailable():
            return 503
        case _:
            return 400


Refuse = Callable[[Request, int, str], Response]
"""Makes the answer to a request that is refused: with which status, saying which line."""


def give_refusals(app: FastAPI, refuse: Refuse) -> None:
    """Give every error of the app its answer."""

    @app.exception_handler(BadInput)
    @app.exception_handler(CheckFailed)
    def refused(request: Request, error: BadInput | CheckFailed) -> Response:
        return refuse(request, status_of(error), str(error))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        fault = error.errors()[0]
        place = ".".join(str(key) for key in fault["loc"])
        return refuse(request, 400, f"{place}: {fault['msg']}")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        line = SAID.get(error.status_code, f"request: {error.detail}")
        return refuse(request, error.status_code, line)

    @app.exception_handler(Exception)
    def our_bug(request: Request, error: Exception) -> Response:
        return refuse(request, 500, "server: an error of its own; its log says which")
