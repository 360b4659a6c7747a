"""The promotions page as a person uses it: the forms he fills in, and the words he reads."""

import html
import re
from dataclasses import replace
from functools import lru_cache

from decision_cases import measured
from fastapi import FastAPI
from httpx import Response
from people import Person, add_pages

from dashboard.app import make_app
from dashboard.once import COOKIE as TOLD
from lori_core.digests import sha256_json
from registry.decisions import Actor
from registry.desk import Desk
from registry.records import Cell
from registry.store import Registry

S = "/sequences/assistant"
PAGE = f"{S}/promotions"
ASKER, APPROVER, ADMIN = "promoter", "reviewer", "admin"
VIEWER = Actor(name="viewer", role="viewer", account=True)


@lru_cache(maxsize=1)
def app_of(registry: Registry) -> FastAPI:
    """One for all who come: to make one takes longer than to answer."""
    return add_pages(make_app(registry, token=None, errands=False))


def as_(registry: Registry, name: str) -> Person:
    person = Person(app_of(registry))
    assert person.sign_in(name).status_code == 303
    return person


def hidden(page: Response, name: str) -> str:
    """A hidden field of the page, as a browser would send it back."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, name
    return html.unescape(found[1])


def promote(
    person: Person, reason: str = "better", *, to: str = "champion", **fields: str
) -> Response:
    page = person.get(PAGE)
    seen = {name: hidden(page, name) for name in ("version", "expect", "expect_candidate")}
    return person.fill_in(f"{S}/promote", {**seen, "to": to, "reason": reason, **fields})


def told(answer: Response) -> str:
    assert answer.status_code == 303, words(answer)
    assert answer.headers["location"].partition("?")[0] == PAGE
    return answer.cookies[TOLD].partition(":")[0]


def words(answer: Response) -> str:
    """What a person reads."""
    body = re.sub(r"<(script|style).*?</\1>", " ", answer.text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def champion(registry: Registry) -> int | None:
    return Desk(registry, VIEWER).champion("assistant")


def spoil(registry: Registry, version: int, task: str = "t01") -> Cell:
    """From now on a task scores nothing at a version: its gate must refuse."""
    bad = measured(registry, "assistant", version, task, "inherited", score=0)
    other = sha256_json(["spoilt", version, task])
    return registry.record_cell(replace(bad, effective_digest=other, key=other))


def answer(person: Person, promotion: int, what: str, reason: str) -> Response:
    return person.fill_in(f"/promotions/{promotion}/{what}", {"reason": reason})
