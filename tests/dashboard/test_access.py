from datetime import timedelta

import pytest
from api_cases import Browser, Server

from dashboard.app import make_app
from registry.accounts import Accounts, new_secret, owner
from registry.clock import now
from registry.decisions import Role
from registry.roles import MAY, ROLES, Action
from registry.store import Registry

SOON = (now() + timedelta(days=1)).isoformat()
S = "/api/sequences/assistant"
WHY = {"reason": "because"}

WRITES: dict[tuple[str, str], tuple[dict[str, object] | None, Action]] = {
    ("POST", f"{S}/gate"): ({"version": 1}, "read"),  # a viewer's report is computed, not recorded
    ("POST", f"{S}/promotions"): ({"version": 1, **WHY}, "promote"),
    ("POST", f"{S}/rollback"): (WHY, "rollback"),
    ("POST", "/api/promotions/1/approve"): (WHY, "approve"),
    ("POST", "/api/promotions/1/reject"): (WHY, "reject"),
    ("POST", f"{S}/freeze"): ({"until": SOON, **WHY}, "freeze"),
    ("POST", f"{S}/thaw"): (WHY, "thaw"),
    ("POST", f"{S}/waivers"): (
        {"version": 1, "rule": "certificate", "expires": SOON, **WHY},
        "waive",
    ),
    ("POST", "/api/waivers/1/approve"): (WHY, "approve-waiver"),
    ("POST", f"{S}/retired"): ({"task": "safety", **WHY}, "retire"),
    ("POST", f"{S}/confirmations"): (
        {
            "version": 1,
            "task": "safety",
            "read": "inherited",
            "digest": "0" * 64,
            "host": "gpu-1",
            "loaded_at": now().isoformat(),
        },
        "confirm",
    ),
    ("POST", "/api/submissions"): ({"document": {"sequence": "a"}}, "submit"),
    ("POST", "/api/arrivals/1/cancel"): (None, "cancel"),
    ("POST", "/api/arrivals/1/retry"): (None, "submit"),
    ("POST", "/api/arrivals/1/hold"): (None, "hold"),
    ("POST", "/api/arrivals/1/release"): (None, "hold"),
    ("POST", f"{S}/hold"): (WHY, "hold"),
    ("POST", f"{S}/release"): (None, "hold"),
    ("POST", "/api/accounts"): ({"name": "ann", "role": "viewer"}, "accounts"),
    ("PUT", "/api/accounts/viewer/role"): ({"role": "viewer"}, "accounts"),
    ("PUT", "/api/accounts/admin/password"): ({"password": "a few words here"}, "accounts"),
    ("POST", "/api/rows/allow"): ({"account": "viewer", "sequence": "assistant"}, "accounts"),
    ("POST", "/api/rows/revoke"): ({"account": "viewer", "sequence": "assistant"}, "accounts"),
    ("POST", "/api/rows/hide"): (
        {"sequence": "assistant", "task": "safety", **WHY},
        "accounts",
    ),
    ("POST", "/api/rows/unhide"): ({"sequence": "assistant", "task": "safety"}, "accounts"),
    ("POST", "/api/accounts/viewer/disable"): (None, "accounts"),
    ("POST", "/api/accounts/viewer/enable"): (None, "accounts"),
    ("POST", "/api/accounts/viewer/tokens"): ({"label": "new"}, "accounts"),
    ("DELETE", "/api/tokens/1"): (None, "accounts"),
    ("POST", "/api/webhooks"): ({"name": "ops", "url": "http://127.0.0.1:1/x"}, "webhooks"),
    ("DELETE", "/api/webhooks/ops"): (None, "webhooks"),
}


def test_the_list_above_is_every_way_to_write(registry: Registry) -> None:
    paths = make_app(registry, token=None, errands=False).openapi()["paths"]
    offered = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if method != "get"
    }
    named = {(method, path.replace("/1/", "/{number}/")) for method, path in WRITES}
    assert len(offered) == len(named) == len(WRITES)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_role_decides_who_may(
    guarded: Browser, tokens: dict[Role, str], method: str, path: str
) -> None:
    body, action = WRITES[method, path]
    for role in ROLES:
        if role == "admin" or action in MAY[role]:
            continue
        answer = guarded.ask(method, path, token=tokens[role], body=body)
        if path.endswith("/reject"):  # who asked may withdraw, so the promotion is looked for first
            assert answer.status in {403, 404}
        else:
            assert (answer.status, answer.error[:6]) == (403, "role: ")
    for role in ROLES:
        if role == "admin" or action not in MAY[role]:
            continue
        assert guarded.ask(method, path, token=tokens[role], body=body).status not in {401, 403}


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_nobody_without_a_live_token_writes(
    guarded: Browser, tokens: dict[Role, str], method: str, path: str
) -> None:
    body, _ = WRITES[method, path]
    for token in (None, new_secret(), "", "lori_", tokens["admin"][:-1], tokens["admin"] + "A"):
        assert guarded.ask(method, path, token=token, body=body).status == 401


def test_with_accounts_nobody_reads_without_a_token(
    guarded: Browser, tokens: dict[Role, str]
) -> None:
    queue = ("/api/submissions", "/api/arrivals", "/api/queue/blocked", "/api/queue/held")
    for path in ("/api/sequences", S, f"{S}/log", "/api/promotions/pending", "/api/me", *queue):
        assert guarded.get(path).status == 401
        assert guarded.get(path, tokens["viewer"]).status == 200
    assert guarded.get("/healthz").json["ok"] is True


def test_who_has_no_token_does_not_learn_which_sequences_there_are(guarded: Browser) -> None:
    assert guarded.get("/api/sequences/assistant").status == 401
    assert guarded.get("/api/sequences/nothing").status == 401


def test_a_viewer_sees_no_accounts_and_no_webhooks(
    guarded: Browser, tokens: dict[Role, str]
) -> None:
    rows = ("/api/rows/rights", "/api/rows/hidden")
    for path in ("/api/accounts", "/api/accounts/admin/tokens", "/api/webhooks", *rows):
        assert guarded.get(path, tokens["promoter"]).status == 403
        assert guarded.get(path, tokens["admin"]).status == 200


def test_without_accounts_reading_is_free_and_writing_takes_the_printed_token(
    server: Server,
) -> None:
    body = {"until": SOON, **WHY}
    assert server.browser.get(S).json["name"] == "assistant"
    assert server.browser.get("/api/me").json["role"] == "viewer"
    assert server.browser.post(f"{S}/freeze", body).status == 401
    assert server.browser.post(f"{S}/freeze", body, new_secret()).status == 401
    assert server.browser.post(f"{S}/freeze", body, server.token).json["by"] == owner().name


def test_the_first_account_ends_the_printed_token_and_free_reading(
    server: Server, registry: Registry
) -> None:
    made = server.browser.post("/api/accounts", {"name": "ann", "role": "admin"}, server.token)
    assert made.json["role"] == "admin"
    assert server.browser.get(S).status == 401
    assert server.browser.post(f"{S}/thaw", WHY, server.token).status == 401
    secret = Accounts(registry, owner()).issue("ann", "laptop").secret
    assert server.browser.get("/api/me", secret).json == {
        "name": "ann",
        "role": "admin",
        "account": True,
        "vouched_by": [owner().name],
    }


def test_a_revoked_token_and_a_disabled_account_are_out_at_once(
    guarded: Browser, tokens: dict[Role, str]
) -> None:
    admin = tokens["admin"]
    issued = guarded.post("/api/accounts/viewer/tokens", {"label": "x"}, admin).json
    assert guarded.get(S, issued["secret"]).status == 200
    assert guarded.ask("DELETE", f"/api/tokens/{issued['token']['id']}", token=admin).status == 200
    assert guarded.get(S, issued["secret"]).status == 401
    assert guarded.get(S, tokens["viewer"]).status == 200
    guarded.ask("POST", "/api/accounts/viewer/disable", token=admin)
    assert guarded.get(S, tokens["viewer"]).status == 401
    listed = guarded.get("/api/accounts/viewer/tokens", admin).json
    assert all("secret" not in token and "sha256" not in token for token in listed)


@pytest.mark.parametrize(
    "header", ["", "Basic YTpi", "Bearer", "Bearer ", "bearer  x", "Token x", "Bearer lori_\xff"]
)
def test_an_odd_authorization_is_refused(guarded: Browser, header: str) -> None:
    answer = guarded.ask("GET", S, headers={"authorization": header})
    assert answer.status == 401
