"""What `/openapi.json` promises: every route with its answers, its refusals and its keys."""

import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from dashboard.app import make_app
from dashboard.description import TAGS
from registry.store import Registry


@pytest.fixture
def schema(registry: Registry) -> dict[str, Any]:
    return make_app(registry, token=None, errands=False).openapi()


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, each)
        for path, methods in schema["paths"].items()
        for method, each in methods.items()
    ]


def test_it_holds_every_route_of_the_api_and_no_page(registry: Registry) -> None:
    app = make_app(registry, token=None, errands=False)
    there = {
        (route.path, method.lower())
        for route in routes(app)
        for method in route.methods
        if route.path.startswith("/api/") or route.path in {"/healthz", "/metrics"}
    }
    assert {(path, method) for path, method, _ in operations(app.openapi())} == there
    assert len(there) > 60


def routes(app: Any) -> list[APIRoute]:
    found: list[APIRoute] = []
    for each in app.routes:
        found += (
            [each]
            if isinstance(each, APIRoute)
            else [
                route
                for route in getattr(getattr(each, "original_router", None), "routes", [])
                if isinstance(route, APIRoute)
            ]
        )
    return found


def test_every_operation_says_in_a_sentence_what_it_does(schema: dict[str, Any]) -> None:
    seen: dict[str, str] = {}
    for path, method, each in operations(schema):
        assert 8 < len(each["summary"]) < 140, (path, each["summary"])
        assert each["tags"][0] in TAGS, path
        assert seen.setdefault(each["operationId"], path) == path
        for parameter in each.get("parameters", []):
            assert parameter["in"] in {"path", "query"}, (path, method, parameter["name"])


def test_every_refusal_is_described_as_it_looks(schema: dict[str, Any]) -> None:
    for path, method, each in operations(schema):
        answers = each["responses"]
        assert "200" in answers, path
        assert "422" not in answers, path  # ours are 400, in one line
        wanted = {"400", "503"} if path == "/healthz" else {"400", "401", "403", "409", "503"}
        wanted |= {"404"} if "{" in path else set()
        wanted |= {"413"} if method != "get" else set()
        assert wanted <= set(answers), path
        for status, answer in answers.items():
            if status != "200":
                content = answer["content"]["application/json"]["schema"]
                assert content == {"$ref": "#/components/schemas/Refused"}, (path, status)


def test_writing_takes_a_token_or_a_session_with_its_secret(schema: dict[str, Any]) -> None:
    schemes = schema["components"]["securitySchemes"]
    assert schemes["token"] | {"description": ""} == {
        "type": "http",
        "scheme": "bearer",
        "description": "",
    }
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", "lori_session")
    assert schemes["csrf"]["name"] == "x-csrf-token"
    for path, method, each in operations(schema):
        if path == "/healthz":
            assert each["security"] == []
        elif method == "get":
            assert {"token": []} in each["security"], path
        else:
            assert each["security"] == [{"token": []}, {"session": [], "csrf": []}], path


def test_every_reference_leads_somewhere_and_nothing_is_left_over(schema: dict[str, Any]) -> None:
    known = set(schema["components"]["schemas"])
    used = set(re.findall(r"#/components/schemas/([^']+)'", str(schema)))
    assert used == known
