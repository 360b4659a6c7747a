"""Who looks at a page, by which word: a cookie, a trusted proxy, a token; and what each may see."""

import socket
from collections.abc import Callable
from functools import partial

import pytest
from fastapi import Request
from people import BEHIND, DOES, LOOKS, PROXY, Person, add_pages, behind, by_proxy
from sqlalchemy import select
from starlette.requests import HTTPConnection

from dashboard.app import make_app
from dashboard.office import COOKIE, Secret, TheOffice
from dashboard.proxy import proxy_of
from dashboard.safety import page_headers
from dashboard.serve import serve
from dashboard.visitors import Viewing, still_there
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry import passwords
from registry.access_models import SignInRow
from registry.accounts import Accounts, new_secret, owner
from registry.decisions import Actor
from registry.people import bare, one_person, proxied
from registry.promoting import Promoter
from registry.store import Registry

PRINTED = new_secret()
S = "/api/sequences/assistant"

pytestmark = pytest.mark.usefixtures("cheap_passwords")


# Forms


def test_a_form_is_taken_from_a_page_of_ours_alone(person: Person) -> None:
    person.sign_in("viewer")
    csrf = person.csrf()
    assert person.send(DOES, {"csrf": csrf}).json() == {"did": "viewer"}
    for fields in ({}, {"csrf": ""}, {"csrf": csrf[:-1]}, {"csrf": csrf + "A"}, {"csrf": "é"}):
        assert person.send(DOES, fields).status_code == 403, fields
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8321"},
    ):
        assert person.send(DOES, {"csrf": csrf}, **headers).status_code == 403, headers


def test_a_form_older_than_the_sign_in_is_refused_and_says_so(person: Person) -> None:
    person.sign_in("viewer")
    stale = person.csrf()
    person.sign_in("viewer")
    answer = person.send(DOES, {"csrf": stale})
    assert (answer.status_code, "older than this sign-in" in answer.text) == (403, True)


def test_the_secret_of_ones_forms_is_no_use_to_another(person: Person) -> None:
    person.sign_in("viewer")
    other = Person(person.client.app)  # type: ignore[arg-type]
    other.sign_in("trainer")
    assert other.send(DOES, {"csrf": person.csrf()}).status_code == 403


def test_nobody_and_a_token_send_no_form(person: Person, known: Registry) -> None:
    assert person.send(DOES, {"csrf": ""}).status_code == 403
    secret = Accounts(known, owner()).issue("viewer", "x").secret
    bearer = {"authorization": f"Bearer {secret}"}
    assert person.get(LOOKS, **bearer).status_code == 200
    assert person.send(DOES, {"csrf": ""}, **bearer).status_code == 403
    assert person.get(LOOKS, authorization="Bearer lori_nothing").status_code == 401


# A request that goes on


def test_who_signed_out_or_has_another_role_is_let_in_no_more(known: Registry) -> None:
    app = add_pages(make_app(known, token=None, errands=False))
    asked: list[Callable[[], bool]] = []

    @app.get("/goes-on", include_in_schema=False)
    def goes_on(
        request: Request, visitor: Viewing, office: TheOffice, secret: Secret
    ) -> dict[str, str]:
        asked.append(partial(still_there, request, office, secret, visitor))
        return {}

    people = {name: Person(app) for name in ("viewer", "reviewer", "promoter", "trainer")}
    for name, each in people.items():
        each.sign_in(name)
        assert each.get("/goes-on").status_code == 200
    token = Accounts(known, owner()).issue("viewer", "x")
    assert Person(app).get("/goes-on", authorization=f"Bearer {token.secret}").status_code == 200
    assert [each() for each in asked] == [True] * 5
    book = Accounts(known, owner())
    assert people["viewer"].fill_in("/sign-out", {}).status_code == 303
    book.disable("reviewer")
    book.change_role("promoter", "trainer")
    book.revoke(token.token.id)
    assert [each() for each in asked] == [False, False, False, True, False]


# The API


def test_a_cookie_reads_the_api_and_writes_with_the_header_from_a_page_of_ours(
    person: Person,
) -> None:
    thaw, why = f"{S}/thaw", {"reason": "x"}
    assert person.client.get("/api/me").status_code == 401
    person.sign_in("promoter")
    assert person.client.get("/api/me").json()["name"] == "promoter"
    csrf = person.csrf()
    for headers, status in [
        ({}, 403),
        ({"x-csrf-token": "x"}, 403),
        ({"x-csrf-token": csrf, "origin": "http://evil.example"}, 403),
        ({"x-csrf-token": csrf, "sec-fetch-site": "cross-site"}, 403),
        ({"x-csrf-token": csrf}, 409),  # it is not frozen
    ]:
        assert person.client.post(thaw, json=why, headers=headers).status_code == status, headers
    person.fill_in("/sign-out", {})
    assert person.client.get("/api/me").status_code == 401


def test_a_token_beside_a_cookie_is_who_asks(person: Person, known: Registry) -> None:
    person.sign_in("promoter")
    secret = Accounts(known, owner()).issue("viewer", "x").secret
    me = person.client.get("/api/me", headers={"authorization": f"Bearer {secret}"})
    assert me.json()["name"] == "viewer"


def test_without_accounts_a_cookie_that_is_over_reads_as_anybody(registry: Registry) -> None:
    person = Person(make_app(registry, token=PRINTED, errands=False))
    person.cookie = "long-gone"
    assert person.client.get("/api/me").json()["name"] == "anyone"
    answer = person.client.post(f"{S}/thaw", json={"reason": "x"})
    assert answer.status_code == 401


# A trusted proxy


def test_a_trusted_proxy_says_who_comes_and_his_groups_what_he_may(registry: Registry) -> None:
    person = behind(registry)
    for groups, role in [
        (("ml-read",), "viewer"),
        (("other", " ml-train "), "trainer"),
        (("ml-release", "ml-read"), "promoter"),
        (("ml-review", "ml-release"), "promoter"),
    ]:
        page = person.get(LOOKS, **by_proxy("Ann@Example.org", *groups))
        assert page.status_code == 200
        assert '<p class="line">proxy:ann@example.org' in page.text
        assert f'<p class="advice">{role}' in page.text


def test_from_any_other_address_the_same_words_are_nothing(registry: Registry) -> None:
    for peer in ("192.0.2.1", "127.0.0.1", "11.0.0.1", "::1"):
        liar = behind(registry, peer)
        answer = liar.get(LOOKS, **by_proxy("ann", "ml-release"))
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), peer
        assert liar.client.get("/api/me").status_code == 401
    for peer in ("10.255.0.1", "2001:db8::5", "::ffff:10.0.0.1"):
        assert behind(registry, peer).get(LOOKS, **by_proxy("ann", "ml-read")).status_code == 200


def test_who_has_no_group_with_a_role_is_refused_in_one_line(registry: Registry) -> None:
    person = behind(registry)
    for groups in ((), ("other",), ("ML-RELEASE",), ("ml-release=admin",), ("ml-release;x",)):
        answer = person.get(LOOKS, **by_proxy("ann", *groups))
        assert answer.status_code == 403
        assert "proxy:ann is in no group that has a role here" in answer.text
        said = {"x-forwarded-user": "ann", "x-forwarded-groups": ",".join(groups)}
        assert person.client.get("/api/me", headers=said).json() == {
            "error": "role: proxy:ann is in no group that has a role here"
        }


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "../x", "ann\u00e9", "a" * 121, "@", "a:b", "<b>"]
)
def test_a_name_that_is_none_is_refused(registry: Registry, name: str) -> None:
    person = behind(registry)
    headers = {"x-forwarded-user": name.encode(), "x-forwarded-groups": b"ml-release"}
    answer = person.client.get(LOOKS, headers=headers)
    assert answer.status_code == 400
    assert person.client.get("/api/me", headers=headers).json()["error"].startswith("name from")


def test_a_name_said_twice_is_refused(registry: Registry) -> None:
    twice = [
        ("x-forwarded-user", "ann"),
        ("x-forwarded-user", "ben"),
        ("x-forwarded-groups", "ml-release"),
    ]
    answer = behind(registry).client.get("/api/me", headers=twice)
    assert (answer.status_code, "2 times" in answer.json()["error"]) == (400, True)


def test_who_comes_by_the_proxy_sends_forms_with_a_secret_of_his_own(registry: Registry) -> None:
    person = behind(registry)
    ann, ben = by_proxy("ann", "ml-read"), by_proxy("ben", "ml-read")
    page = person.get(LOOKS, **ann).text
    csrf = next(iter(_secrets(registry).values()))
    assert "Sign out" not in page
    assert person.send(DOES, {"csrf": csrf}, **ann).json() == {"did": "proxy:ann"}
    assert person.send(DOES, {"csrf": csrf}, **ben).status_code == 403
    assert person.send(DOES, {}, **ann).status_code == 403
    assert person.send(DOES, {"csrf": csrf}).status_code == 403
    foreign = person.send(DOES, {"csrf": csrf}, origin="http://evil.example", **ann)
    assert foreign.status_code == 403
    for _ in range(3):
        person.get(LOOKS, **ann)
    assert len(_secrets(registry)) == 2  # one each, however often they come
    answer = person.send("/sign-out", {"csrf": csrf}, **ann)
    assert (answer.status_code, "signs out there" in answer.text) == (409, True)


def _secrets(registry: Registry) -> dict[str | None, str]:
    with registry._database.reading() as session:
        return {row.person: row.csrf for row in session.scalars(select(SignInRow))}


def test_the_proxys_word_comes_before_a_cookie_and_people_may_sign_in_without_it(
    known: Registry,
) -> None:
    person = behind(known)
    assert person.sign_in("trainer").status_code == 303
    assert "trainer" in person.get(LOOKS).text
    assert "proxy:ann" in person.get(LOOKS, **by_proxy("ann", "ml-read")).text


def test_guesses_behind_a_proxy_count_by_the_address_it_tells(known: Registry) -> None:
    person = behind(known)
    for number in range(12):
        said = {"name": f"n{number}", "password": "no"}
        answer = person.send("/sign-in", said, x_forwarded_for="192.0.2.1, 198.51.100.7")
        assert answer.status_code == (401 if number < 10 else 429)
    other = person.send("/sign-in", {"name": "x", "password": "no"}, x_forwarded_for="192.0.2.1")
    assert other.status_code == 401


def test_where_a_proxy_knows_people_other_addresses_are_listened_on_and_no_token_is_printed(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    only_tls = proxy_of(["10.0.0.1"], user_header=None, groups_header=None, groups=[])
    with pytest.raises(CheckFailed, match="takes accounts"):
        serve(registry, port=0, host="0.0.0.0", proxy=only_tls)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port}"):  # it came as far as that
            serve(registry, port=port, host="0.0.0.0", proxy=BEHIND)
    assert "token" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        {"addresses": [], "user_header": "X-User", "groups_header": "X-G", "groups": ["a=viewer"]},
        {"addresses": ["10.0.0.1"], "user_header": "X-User"},
        {"addresses": ["10.0.0.1"], "groups": ["a=viewer"]},
        {"addresses": ["10.0.0.1"], "user_header": "X-User", "groups_header": "X-G"},
        {"addresses": ["10.0.0.1/8"]},
        {"addresses": ["proxy.example"]},
        {"addresses": [""]},
        {
            "addresses": ["::1"],
            "user_header": "X User",
            "groups_header": "X-G",
            "groups": ["a=viewer"],
        },
        *(
            {
                "addresses": ["::1"],
                "user_header": "X-U",
                "groups_header": "X-G",
                "groups": [group],
            }
            for group in ("a", "=viewer", "a=owner", "a=", "a,b=viewer", "")
        ),
    ],
)
def test_options_that_describe_no_proxy_are_refused(options: dict[str, object]) -> None:
    whole = {"user_header": None, "groups_header": None, "groups": [], **options}
    with pytest.raises(BadInput):
        proxy_of(whole.pop("addresses"), **whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "networks",
    [
        ["0.0.0.0/0"],
        ["::/0"],
        ["0.0.0.0/1", "128.0.0.0/1"],
        ["::/1", "10.0.0.5", "8000::/2", "c000::/2"],
    ],
)
def test_networks_that_are_everybody_are_no_proxy(networks: list[str]) -> None:
    with pytest.raises(BadInput, match="not everybody"):
        proxy_of(networks, user_header=None, groups_header=None, groups=[])


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["192.0.2.1", "198.51.100.7"], "198.51.100.7"),
        (["192.0.2.1, 198.51.100.7:51000"], "198.51.100.7"),
        (["[2001:db8::7]:51000"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["192.0.2.1", "nonsense"], PROXY),
    ],
)
def test_the_last_line_of_a_header_is_the_proxy_s_own(lines: list[str], address: str) -> None:
    def asked(header: str, said: list[str]) -> HTTPConnection:
        headers = [(header.encode(), each.encode()) for each in said]
        return HTTPConnection({"type": "http", "client": (PROXY, 1), "headers": headers})

    assert BEHIND.address(asked("x-forwarded-for", lines)) == address
    assert BEHIND.is_https(asked("x-forwarded-proto", ["http", "https"]))
    assert not BEHIND.is_https(asked("x-forwarded-proto", ["https", "http"]))


def test_a_cookie_that_came_twice_is_nobody_s(person: Person) -> None:
    person.sign_in("viewer")
    held = f"{COOKIE}={person.cookie}"
    assert person.client.get(LOOKS, headers={"cookie": held}).status_code == 200
    person.client.cookies.clear()
    for twice in (f"{held}; {held}", f"{COOKIE}=planted; {held}", f"{held};{COOKIE}=planted"):
        assert person.client.get(LOOKS, headers={"cookie": twice}).status_code == 303


def test_who_waits_long_for_a_password_to_be_looked_at_is_told_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
    with passwords._turn(), passwords._turn(), pytest.raises(Unavailable, match="in a moment"):
        passwords.matches(None, "whatever it is")
    assert not passwords.matches(None, "whatever it is")


def test_two_ways_in_make_nobody_two_persons(registry: Registry) -> None:
    assert proxied("ANN") == proxied("ann") == "proxy:ann"
    assert bare("proxy:ann@example.org") == bare("ann") == "ann"
    assert not one_person("ann", "proxy:anna")
    assert not one_person("proxy:ann@example.org", "proxy:ben@example.org")
    ways = ("ann", "proxy:ann", "proxy:ann@example.org", "proxy:ann@example.com")
    for asked in ways:
        for comes in ways:
            actor = Actor(name=comes, role="admin", account=True)
            with pytest.raises(CheckFailed, match="second person"):
                Promoter(registry, actor).refuse_first_person("approve", asked)
        ben = Actor(name="proxy:ben", role="admin", account=True)
        Promoter(registry, ben).refuse_first_person("approve", asked)
        made = Actor(name="ben", role="admin", account=True, vouched_by=("proxy:ann",))
        with pytest.raises(CheckFailed, match="could be both"):
            Promoter(registry, made).refuse_first_person("approve", asked)


# What the browser is told


def test_no_page_may_load_anything_from_elsewhere_or_run_what_is_written_into_it() -> None:
    for plots in (False, True):
        policy = dict(
            part.strip().split(" ", 1)
            for part in page_headers(plots=plots)["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
        assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert ("'unsafe-inline'" in policy["style-src"]) == plots
        assert "unsafe-eval" not in str(policy)
        assert "http" not in str(policy)
        assert not any("*" in sources for sources in policy.values())


def test_every_answer_to_a_browser_says_what_it_may_load(person: Person) -> None:
    person.sign_in("viewer")
    for path in ("/password", "/sign-in", LOOKS, "/nothing-here"):
        answer = person.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
