import pytest
from api_cases import Server
from fastapi.testclient import TestClient

from dashboard.door import LARGEST_BODY, host_of


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("127.0.0.1:8321", "127.0.0.1"),
        ("LOCALHOST", "localhost"),
        ("[::1]:80", "[::1]"),
        ("evil.com", "evil.com"),
        ("localhost:80:80", ""),
        ("localhost:80@evil.com", ""),
        ("", ""),
        ("[::1", "[::1"),
        ("[::1]evil", ""),
    ],
)
def test_the_host_is_what_stands_before_the_port(header: str, host: str) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize("host", ["evil.com", "127.0.0.1.evil.com", "", "localhost.", "10.0.0.1"])
def test_a_request_for_another_host_is_refused(server: Server, host: str) -> None:
    for path in ("/healthz", "/api/sequences", "/openapi.json"):
        answer = server.browser.ask("GET", path, headers={"host": host})
        assert (answer.status, answer.error[:5]) == (400, "host:")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8321"])
def test_a_request_for_this_host_is_answered(server: Server, host: str) -> None:
    assert server.browser.ask("GET", "/healthz", headers={"host": host}).status == 200


def test_a_large_body_is_refused_before_it_is_read_into_anything(server: Server) -> None:
    body = {"reason": "x" * LARGEST_BODY}
    answer = server.browser.post("/api/sequences/assistant/promotions", body, server.token)
    assert (answer.status, "at most" in answer.error) == (413, True)


@pytest.mark.parametrize("said", ["-1", "1e3", "9" * 30, "\xb3", ""])
def test_a_length_that_is_none_is_refused(server: Server, said: str) -> None:
    answer = server.browser.ask(
        "POST",
        "/api/sequences/assistant/thaw",
        raw=b"{}",
        headers={"content-length": said},
    )
    assert answer.status in {400, 401, 413}


def test_head_is_answered_like_get_without_the_body(server: Server) -> None:
    client = TestClient(server.browser.app, base_url="http://127.0.0.1:8321")
    for path in ("/", "/sequences/assistant", "/api/sequences", "/healthz", "/nothing"):
        got, asked = client.get(path), client.head(path)
        assert (asked.status_code, asked.content) == (got.status_code, b"")
        assert asked.headers["content-type"] == got.headers["content-type"]
    for made in ("/sequences/assistant/live", "/sequences/assistant/versions/1/evidence.zip"):
        assert client.head(made).status_code == 405
    assert client.head("/sign-out").status_code == client.get("/sign-out").status_code
