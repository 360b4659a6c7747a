"""`/openapi.json`: what a program may ask, how it says who it is, and what it is answered.

FastAPI describes parameters, bodies and what a success holds. Here is added what holds for the whole
API: how errors look (never FastAPI's own), and the two ways to be known.
"""

from typing import Any

from fastapi import FastAPI

from dashboard.forms import CSRF_HEADER
from dashboard.office import COOKIE
from lori_core.names import NAME

PROGRAMS = ("/api/",)
OPEN = ("/healthz",)
"""Paths that ask nobody who he is."""

SCRAPED = ("/metrics",)

TAGS = {
    "sequences": "What was learned: sequences, tasks, versions, R and its cells.",
    "overviews": "What the pages show of all sequences, and of one.",
    "versions": "What the pages show of a version.",
    "compare": "Two sequences, or two versions, on the same tasks.",
    "promotions": "What serves, who decided it, and on which evidence.",
    "arrivals": "What is sent to be learned, what waits and what runs.",
    "care": "What is out of the ordinary: freezes, waivers, retirement, confirmations.",
    "accounts": "Who acts, who sees rows, who is told.",
    "server": "The server itself.",
}

SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of an account; without accounts, the one printed at start.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "A browser that signed in at `/sign-in`.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": CSRF_HEADER,
        "description": "What the pages of that browser hold: whoever writes by the cookie sends it too.",
    },
}

READS: list[dict[str, list[str]]] = [{}, {"token": []}, {"session": []}]
"""Without anything only where nobody has an account."""

WRITES: list[dict[str, list[str]]] = [{"token": []}, {"session": [], "csrf": []}]

REFUSED = {
    "type": "object",
    "title": "Refused",
    "description": "Why nothing was done.",
    "properties": {"error": {"type": "string", "description": "One line for a person."}},
    "required": ["error"],
    "additionalProperties": False,
}

MEANT = {
    400: "A request that cannot be meant: says which value, and what was expected.",
    401: "No token, or none that is taken.",
    403: "A role that may not, or a form from elsewhere.",
    404: "Nothing of that name or number.",
    409: "A check said no: a gate, a moved champion, a damaged file.",
    413: "A body that is too large, or too slow.",
    503: "A store that is away, or too much at a time.",
}

NAMES = ("sequence", "task", "name")
"""Parameters that name what people named."""

_OWN = ("HTTPValidationError", "ValidationError")
"""FastAPI's descriptions of errors, which none of ours looks like."""


class DescribedApp(FastAPI):
    """An app whose description is whole."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's description with what holds for all of it; the pages are no part of it."""
    schema["paths"] = {
        path: {method: _operation(path, method, each) for method, each in methods.items()}
        for path, methods in schema["paths"].items()
        if path.startswith(PROGRAMS) or path in OPEN or path in SCRAPED
    }
    schema["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    components = schema.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    schemas = components.setdefault("schemas", {})
    for name in _OWN:
        schemas.pop(name, None)
    schemas["Refused"] = REFUSED
    return schema


def _operation(path: str, method: str, given: dict[str, Any]) -> dict[str, Any]:
    parameters = [_parameter(each) for each in given.get("parameters", []) if not _says_who(each)]
    answers = {status: each for status, each in given["responses"].items() if status != "422"}
    refusals = {str(status): _refusal(status) for status in _statuses(path, method, parameters)}
    operation = {
        **given,
        "summary": _first_sentence(given["description"]),
        "responses": {**answers, **refusals},
        "security": [] if path in OPEN else (READS if method == "get" else WRITES),
    }
    operation.pop("parameters", None)
    if parameters:
        operation["parameters"] = parameters
    return operation


def _statuses(path: str, method: str, parameters: list[dict[str, Any]]) -> list[int]:
    if path in OPEN:
        return [400, 503]
    found = [400, 401, 403, 409, 503]
    if parameters or method != "get":
        found.append(404)
    if method != "get":
        found.append(413)
    return sorted(found)


def _refusal(status: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}}
    return {"description": MEANT[status], "content": content}


def _says_who(parameter: dict[str, Any]) -> bool:
    """Whether a parameter is what the security schemes tell of."""
    return (parameter["in"], parameter["name"].lower()) == ("header", "authorization")


def _parameter(given: dict[str, Any]) -> dict[str, Any]:
    """A parameter; where it is a name, what names look like."""
    kinds = [given["schema"], *given["schema"].get("anyOf", [])]
    if given["name"] in NAMES:
        for kind in kinds:
            if kind.get("type") == "string":
                kind.setdefault("pattern", f"^{NAME.pattern}$")
    return given


def _first_sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split()).rstrip(".")
