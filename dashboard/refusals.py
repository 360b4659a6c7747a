"""Errors as answers: JSON `{"error": "<one line>"}` and a status, never a trace.

400 a request that cannot be meant · 401 no token, or none we take · 403 a role that may not · 404 nothing of
that name · 405 a method a path has not · 409 a check said no (a gate, a moved champion) · 413 too large ·
503 a store that is away. 500 is our own bug: its trace is in the server's log alone.
"""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

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

_SAID = {404: "path: nothing is here", 405: "method: this path does not have it"}


def refusal(status: int, line: str) -> JSONResponse:
    """An error as JSON."""
    headers = {**ALWAYS, "www-authenticate": "Bearer"} if status == 401 else ALWAYS
    return JSONResponse({"error": one_line(line)}, status_code=status, headers=headers)


def refuse_in_json(app: FastAPI) -> None:
    """Give every error of the app its answer."""

    @app.exception_handler(BadInput)
    def bad_input(request: Request, error: BadInput) -> JSONResponse:
        match error:
            case TokenRefused():
                return refusal(401, str(error))
            case NotFound():
                return refusal(404, str(error))
            case Unavailable():
                return refusal(503, str(error))
            case _:
                return refusal(400, str(error))

    @app.exception_handler(CheckFailed)
    def check_failed(request: Request, error: CheckFailed) -> JSONResponse:
        return refusal(403 if error.check == "role" else 409, str(error))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        fault = error.errors()[0]
        place = ".".join(str(key) for key in fault["loc"])
        return refusal(400, f"{place}: {fault['msg']}")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, _SAID.get(error.status_code, f"request: {error.detail}"))

    @app.exception_handler(Exception)
    def our_bug(request: Request, error: Exception) -> JSONResponse:
        return refusal(500, "server: an error of its own; its log says which")
