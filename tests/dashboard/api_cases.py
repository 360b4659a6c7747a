"""A browser for the app in this process: what comes back, unless it breaks the API's promises."""

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from fastapi.testclient import TestClient

from dashboard.app import make_app
from registry.store import Registry

STATUSES = {400, 401, 403, 404, 405, 409, 413, 503}


@dataclass
class Answer:
    status: int
    json: Any

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Browser:
    """Asks the app; every answer is held to: JSON, one line for an error, no trace."""

    def __init__(self, registry: Registry, token: str | None) -> None:
        self.app = make_app(registry, token=token, errands=False)
        self._client = TestClient(
            self.app, base_url="http://127.0.0.1:8321", raise_server_exceptions=True
        )

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.__exit__(kind, error, trace)

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        raw: bytes | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {name: value.encode("latin-1") for name, value in (headers or {}).items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}".encode()
        if raw is None and body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("content-type", b"application/json")
        answer = self._client.request(
            method, path, content=raw, params=params, headers=sent, follow_redirects=False
        )
        assert answer.headers["x-lori-api"] == "1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        found = answer.json()
        if not answer.is_success:
            assert answer.status_code in STATUSES, (answer.status_code, found)
            assert set(found) == {"error"}
            assert found["error"].isprintable()
            assert "Traceback" not in found["error"]
        return Answer(answer.status_code, found)

    def get(self, path: str, token: str | None = None, **params: str) -> Answer:
        return self.ask("GET", path, token=token, params=params or None)

    def post(self, path: str, body: object, token: str | None = None) -> Answer:
        return self.ask("POST", path, token=token, body=body)


@dataclass
class Server:
    browser: Browser
    token: str
