"""What a browser is shown when something is refused, and what a program is told instead."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboard.app import make_app
from dashboard.door import LARGEST_BODY
from lori_core.errors import BadInput, CheckFailed, NotFound, Unavailable
from registry.store import Registry

PAGE = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
EVIL = "<img src=x onerror=alert(1)>"


def failing(app: FastAPI) -> None:
    """Paths that end in each kind of error."""

    @app.get("/fails/{kind}")
    def fails(kind: str, number: int = 0) -> None:
        match kind:
            case "bad":
                raise BadInput(f"name {EVIL}", "another")
            case "missing":
                raise NotFound("sequence x", "one that exists")
            case "check":
                raise CheckFailed("gate", "version 3 serves now")
            case "role":
                raise CheckFailed("role", "this takes a promoter")
            case "away":
                raise Unavailable("the store", "an answer")
            case "bug":
                raise RuntimeError("secret-of-ours")


@pytest.fixture
def client(registry: Registry) -> Iterator[TestClient]:
    app = make_app(registry, token="t", errands=False)
    failing(app)
    with TestClient(app, base_url="http://127.0.0.1:8321", raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/fails/bad", 400, "expected another"),
        ("/fails/bad?number=x", 400, "query.number"),
        ("/fails/missing", 404, "sequence x: expected one that exists."),
        ("/fails/check", 409, "version 3 serves now"),
        ("/fails/role", 403, "this takes a promoter"),
        ("/fails/away", 503, "the store: expected an answer."),
        ("/fails/bug", 500, "its log says which"),
        ("/nothing/here", 404, "Nothing is here"),
    ],
)
def test_a_browser_is_shown_a_page_and_a_program_one_line(
    client: TestClient, path: str, status: int, said: str
) -> None:
    shown = client.get(path, headers=PAGE)
    assert (shown.status_code, shown.headers["content-type"]) == (
        status,
        "text/html; charset=utf-8",
    )
    assert said in shown.text
    assert re.search(r"<h1>[^<]+</h1>", shown.text)
    assert "script-src 'self'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"
    assert shown.headers["x-content-type-options"] == "nosniff"

    told = client.get(path)
    assert told.status_code == status
    assert set(told.json()) == {"error"}


def test_nothing_of_a_bug_is_shown(client: TestClient) -> None:
    for headers in (PAGE, {}):
        text = client.get("/fails/bug", headers=headers).text
        assert "secret-of-ours" not in text
        assert "Traceback" not in text
        assert ".py" not in text


def test_what_was_asked_for_is_shown_as_text(client: TestClient) -> None:
    text = client.get("/fails/bad", headers=PAGE).text
    assert EVIL not in text
    assert "&lt;img" in text


def test_the_api_answers_in_json_whoever_asks(client: TestClient) -> None:
    for path in ("/api/sequences/none-of-that-name", "/api/nothing", "/static/nothing.css"):
        answer = client.get(path, headers=PAGE)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}


def test_a_method_a_path_has_not_is_said_on_a_page(client: TestClient) -> None:
    answer = client.delete("/fails/bad", headers=PAGE)
    assert answer.status_code == 405
    assert "<h1>Not this way</h1>" in answer.text


def test_the_door_answers_a_browser_with_a_page_too(client: TestClient) -> None:
    large = client.post("/fails/bad", headers=PAGE, content=b"x" * (LARGEST_BODY + 1))
    assert (large.status_code, "<h1>Too large</h1>" in large.text) == (413, True)
    foreign = client.get("/", headers={**PAGE, "host": "evil.com"})
    assert (foreign.status_code, "one this server was started for" in foreign.text) == (400, True)
