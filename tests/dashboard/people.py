"""People at browsers: each signs in as a person would, and fills in forms as a browser sends them."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.responses import Response

from dashboard.app import make_app
from dashboard.office import COOKIE, ReadingRows
from dashboard.pages.errors import ErrorPage
from dashboard.pages.shown import show
from dashboard.proxy import Proxy, proxy_of
from dashboard.visitors import PageSequence, Posting, Viewing
from registry.accounts import Accounts, owner
from registry.decisions import Role
from registry.roles import ROLES
from registry.store import Registry

BASE = "http://127.0.0.1:8321"
LOOKS, DOES = "/looks", "/does"
ROWS, API_ROWS = "/rows/{sequence}/{task}", "/api/rows-of/{sequence}/{task}"
PROXY = "10.1.2.3"
BEHIND = proxy_of(
    ["10.0.0.0/8", "2001:db8::/32"],
    user_header="X-Forwarded-User",
    groups_header="X-Forwarded-Groups",
    groups=["ml-read=viewer", "ml-train=trainer", "ml-review=reviewer", "ml-release=promoter"],
)
HTML = {"accept": "text/html,application/xhtml+xml"}


def password_of(name: str) -> str:
    return f"the long word of {name}"


def give_passwords(registry: Registry) -> None:
    """An account of each role, named by it, each with a password that is its own."""
    book = Accounts(registry, owner())
    for role in ROLES:
        book.create(role, role)
        book.set_password(role, password_of(role))


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Every method and path that an app answers, those of its routers too."""
    found: set[tuple[str, str]] = set()
    routes: list[Any] = list(app.routes)
    while routes:
        route = routes.pop()
        inner = getattr(route, "original_router", None)  # FastAPI 0.150 keeps a router as one route
        if inner is not None:
            routes.extend(inner.routes)
        else:
            found.update((method, route.path) for method in getattr(route, "methods", ()) or ())
    return found


def add_pages(app: FastAPI) -> FastAPI:
    """One page that anybody may look at who may read, and one form that anybody may send who is known."""

    @app.get(LOOKS, include_in_schema=False)
    def looks(request: Request, visitor: Viewing) -> Response:
        page = ErrorPage(status=200, line=visitor.actor.name, advice=visitor.actor.role)
        return show(request, visitor, "error.html", page, title="Here")

    @app.post(DOES, include_in_schema=False)
    def does(visitor: Posting) -> dict[str, str]:
        return {"did": visitor.actor.name}

    @app.get(ROWS, include_in_schema=False)
    def rows(visitor: Viewing, sequence: PageSequence, task: str) -> dict[str, bool]:
        return {"seen": visitor.sees_rows(sequence, task)}

    @app.get(API_ROWS, include_in_schema=False)
    def api_rows(rows: ReadingRows, sequence: str, task: str) -> dict[str, bool]:
        rows.insist(sequence, task)
        return {"seen": True}

    return app


class Person:
    """One browser. Nothing is followed by itself."""

    def __init__(self, app: FastAPI, *, peer: str = "127.0.0.1", base: str = BASE) -> None:
        self.client = TestClient(
            app, base_url=base, client=(peer, 50000), follow_redirects=False, headers=HTML
        )
        self.base = base
        self.kept = ""  # the secret of his forms, where a test looked it up

    def get(
        self, path: str, params: Mapping[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        return self.client.get(path, params=params, headers=_names(headers))

    def send(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """Send a form as a browser does: it says where it came from."""
        said = {"origin": self.base, "sec-fetch-site": "same-origin", **_names(headers)}
        return self.client.post(path, data=dict(fields), headers=said)

    def fill_in(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """Send a form from a page of his, with the secret it holds."""
        return self.send(path, {"csrf": self.csrf(), **fields}, **headers)

    def sign_in(self, name: Role | str, *, onward: str = "/") -> httpx.Response:
        fields = {"name": name, "password": password_of(name), "next": onward}
        return self.send("/sign-in", fields)

    def csrf(self) -> str:
        """The secret in the forms of his pages; empty where there is none."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(LOOKS).text)
        return found[1] if found else ""

    @property
    def cookie(self) -> str | None:
        return self.client.cookies.get(COOKIE)

    @cookie.setter
    def cookie(self, secret: str) -> None:
        self.client.cookies.clear()
        self.client.cookies.set(COOKIE, secret, domain="127.0.0.1")


def _names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def behind(registry: Registry, peer: str = PROXY, *, proxy: Proxy = BEHIND) -> Person:
    """Somebody who comes by way of a proxy that is trusted."""
    return Person(add_pages(make_app(registry, token=None, proxy=proxy, errands=False)), peer=peer)


def by_proxy(name: str, *groups: str) -> dict[str, str]:
    return {"x_forwarded_user": name, "x_forwarded_groups": ",".join(groups)}
