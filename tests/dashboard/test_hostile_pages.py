"""Hostile requests to pages and forms: none succeeds, none breaks it, nothing is written by any.

Names with injections, pages elsewhere that send forms, secrets that are missing, stale or another's, large
and malformed bodies, tricks with paths, planted cookies, links that lead elsewhere, words of a proxy that
is none. `LORI_HOSTILE` is how many there are in all (300; `LORI_HOSTILE=3000` for the long run).
"""

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest
from decision_cases import learn
from fake_aliases import FakeAliases
from fastapi.testclient import TestClient
from folder_artifacts import FolderArtifacts
from hostile import names, others, printable, share, texts, times
from hypothesis import example, given
from hypothesis import strategies as st
from people import BASE, Person, give_passwords, password_of, routes_of
from quick_passwords import quick_passwords

from dashboard.app import make_app
from dashboard.attempts import Attempts
from dashboard.door import LARGEST_BODY
from dashboard.downloads import Downloads
from dashboard.office import COOKIE
from dashboard.pages.sign_in import way_onward
from dashboard.proxy import proxy_of
from registry.accounts import Accounts, owner
from registry.outbox import deliver
from registry.soundness import faults
from registry.store import open_registry

PROXY = "10.0.0.1"
REFUSED = {303, 400, 401, 403, 404, 405, 409, 413, 429, 431}
MARK = "zq7'\"><svg/onload=x>"
"""Stands in a page only where it was not made harmless."""


class Scene:
    """Pages over a registry with two versions, one person of each role signed in, and a proxy."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home" / ".lori"
        self.registry = open_registry(
            self.home, artifacts=FolderArtifacts(root / "store"), aliases=FakeAliases()
        )
        learn(self.registry, root / "made", 2)
        give_passwords(self.registry)
        proxy = proxy_of(
            [PROXY],
            user_header="X-Forwarded-User",
            groups_header="X-Forwarded-Groups",
            groups=["everything=admin"],
        )
        self.app = make_app(self.registry, token=None, proxy=proxy, errands=False)
        refuses = (sys.executable, "-c", "import sys; sys.exit('there is no MLflow here')")
        self.app.state.downloads = Downloads(self.home, command=refuses, evidence=refuses)
        routes = routes_of(self.app)
        pages = {(method, path) for method, path in routes if not path.startswith("/api/")}
        left = {"/sign-in", "/sign-out", "/password", "/metrics", "/healthz", "/openapi.json"}
        self.forms = sorted(path for method, path in pages if method == "POST" and path not in left)
        self.pages = sorted(
            path
            for method, path in pages
            if method == "GET" and path not in left and not path.endswith("/live")
        )
        self.stale = self.signed_in("admin")
        self.stale_csrf = self._csrf(self.stale)
        assert self.stale.fill_out("/sign-out", self.stale_csrf).status_code == 303
        self.admin, self.viewer = self.signed_in("admin"), self.signed_in("viewer")
        self.csrf, self.viewers_csrf = self._csrf(self.admin), self._csrf(self.viewer)

    def signed_in(self, role: str) -> "Attacker":
        person = Attacker(self.app)
        assert person.sign_in(role).status_code == 303
        return person

    def _csrf(self, person: "Attacker") -> str:
        page = person.get("/password").text
        return page.partition('name="csrf" value="')[2].partition('"')[0]

    def state(self) -> tuple[dict[str, object], frozenset[str]]:
        """What every table holds (who was seen when, aside), and every file there is."""
        with contextlib.closing(sqlite3.connect(self.home / "registry.db")) as connection:
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            ]
            rows: dict[str, object] = {}
            for table in tables:
                found = f'SELECT count(*), max(rowid) FROM "{table}"'
                rows[table] = connection.execute(found).fetchone()
            rows["ended"] = connection.execute("SELECT count(ended) FROM sign_ins").fetchone()
            rows["roles"] = connection.execute(
                "SELECT name, role, disabled, password_hash FROM accounts ORDER BY name"
            ).fetchall()
        files = frozenset(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if not path.name.startswith("registry.db-")
        )
        return rows, files


class Attacker(Person):
    def fill_out(self, path: str, csrf: str, **fields: str) -> httpx.Response:
        return self.send(path, {"csrf": csrf, **fields})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with quick_passwords():
        scene = Scene(tmp_path_factory.mktemp("hostile-pages"))
        deliver(scene.registry)
        for version in (1, 2):  # a first look at a version remembers that its files are as filed
            faults(scene.registry, "assistant", version)
        for path in scene.forms:  # locks are files too: those of real names exist from here
            fields = {"reason": "", "version": "1", "until": "", "back": "queue"}
            scene.admin.fill_out(filled(path, "assistant", "7"), scene.csrf, **fields)
        for path in scene.pages:
            scene.admin.get(filled(path, "assistant", "1"))
        yield scene
        scene.registry.close()


@contextlib.contextmanager
def nothing_changes(scene: Scene) -> Iterator[None]:
    before = scene.state()
    yield
    assert scene.state() == before


def filled(path: str, sequence: str, other: str) -> str:
    parts = path.split("/")
    return "/".join(
        sequence if part == "{sequence}" else other if part.startswith("{") else part
        for part in parts
    )


def held_to(answer: httpx.Response) -> None:
    """What every answer is held to: no error of ours, no trace, one line, headers that protect."""
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert "Traceback" not in answer.text
    assert MARK not in answer.text
    assert "onload=x>" not in answer.text.replace("&gt;", "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self';" in policy or "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers
    location = urlsplit(answer.headers.get("location", "/"))
    assert not location.netloc
    assert not location.scheme
    json_ = answer.headers.get("content-type", "").startswith("application/json")
    if json_ and answer.content and not answer.is_success:  # HEAD has none
        assert set(answer.json()) == {"error"}
        assert printable(answer.json()["error"])


def in_path(name: str) -> str:
    return quote(name, safe="", errors="surrogatepass")[:8000]


injected = st.one_of(names, st.just(MARK), texts)


@share(0.2)
@given(name=injected, number=st.integers(0, 99), query=st.booleans())
def test_a_hostile_name_in_the_address_of_a_page(
    scene: Scene, name: str, number: int, query: bool
) -> None:
    path = scene.pages[number % len(scene.pages)]
    if query or "{" not in path:
        keys = ("q", "sort", "page", "read", "rows", "columns", "task", "a", "b", "at", "version",
                "told", "sequence", "next", "arrival", "report", "only")  # fmt: skip
        sent = dict.fromkeys(keys, name[:2000])
        address = filled(path, "assistant", "1") + "?" + urlencode(sent, errors="surrogatepass")
    else:
        address = filled(path, in_path(name), in_path(name))
    with nothing_changes(scene):
        answer = scene.admin.client.get(address)
    held_to(answer)
    stranger = Attacker(scene.app).client.get(address)
    held_to(stranger)
    assert stranger.status_code != 200 or address.startswith("/static/")


FIELDS = ("version", "reason", "to", "expect", "until", "to_version", "back", "expect_candidate")


@share(0.2)
@given(data=st.data(), number=st.integers(0, 99))
def test_a_hostile_value_in_a_form_of_who_may_send_it(
    scene: Scene, data: st.DataObject, number: int
) -> None:
    path = scene.forms[number % len(scene.forms)]
    bad = injected | times.map(str) | others.map(str) | st.integers(10**9, 10**30).map(str)
    in_address = "{" in path and data.draw(st.booleans())
    place = in_path(data.draw(names)) if in_address else ""
    if not in_address:
        # An empty reason is refused wherever there is one; of what takes none, no such row is there.
        place = "999999" if "{sequence}" not in path else "assistant"
    fields = {key: data.draw(bad).encode("utf-8", "replace").decode() for key in FIELDS}
    fields["reason"] = data.draw(st.sampled_from(["", " ", "\x00", "x" * 2001, "a\x1b[2J"]))
    address = filled(path, place, place)
    if address.endswith("/gate") or address == "/sequences/assistant/release":
        fields["version"] = "-1"
    with nothing_changes(scene):
        answer = scene.admin.fill_out(address, scene.csrf, **fields)
    held_to(answer)
    assert answer.status_code in REFUSED, answer.text
    assert answer.status_code != 303, answer.headers


@share(0.2)
@given(
    number=st.integers(0, 99),
    trick=st.sampled_from(
        ["none", "empty", "stale", "another's", "cut", "longer", "guess", "cookie", "not utf-8"]
    ),
    guess=st.text(max_size=60),
)
def test_a_form_without_its_secret(scene: Scene, number: int, trick: str, guess: str) -> None:
    path = filled(scene.forms[number % len(scene.forms)], "assistant", "1")
    fields = {"reason": "because", "version": "1", "to": "champion", "until": "2100-01-01T00:00Z"}
    secret: dict[str, str | bytes] = {
        "empty": {"csrf": ""},
        "stale": {"csrf": scene.stale_csrf},
        "another's": {"csrf": scene.viewers_csrf},
        "cut": {"csrf": scene.csrf[:-1]},
        "longer": {"csrf": scene.csrf + "A"},
        "guess": {"csrf": guess.encode("utf-8", "replace").decode()},
        "cookie": {"csrf": scene.admin.cookie or ""},
        "not utf-8": {"csrf": b"\xff\xfe\x00"},
    }.get(trick, {})  # type: ignore[assignment]
    headers = {"origin": BASE, "sec-fetch-site": "same-origin"}
    with nothing_changes(scene):
        answer = scene.admin.client.post(path, data={**secret, **fields}, headers=headers)
        query = scene.admin.client.post(f"{path}?csrf={scene.csrf}", data=fields, headers=headers)
        header = scene.admin.client.post(
            path, data=fields, headers={**headers, "x-csrf-token": scene.csrf}
        )
    for each in (answer, query, header):
        held_to(each)
        assert each.status_code == 403, (trick, each.status_code)


ORIGINS = [
    "http://evil.example", "https://127.0.0.1.evil.example", "null", "", "http://127.0.0.1:8322",
    "http://localhost:8321", "http://127.0.0.1:8321@evil.example", "file://", "http://[::1]:8321",
    "http://127.0.0.1:8321/", "http://127.0.0.1:8321, http://evil.example", "//127.0.0.1:8321",
    "chrome-extension://abc", "data:", "http://127.0.0.1:8321#x", "http://[", "javascript:x",
]  # fmt: skip
HOSTS = [
    "evil.example", "127.0.0.1.evil.example", "127.0.0.1:8321@evil.example", "", "127.0.0.1:x",
    "localhost:80:80", "10.0.0.1", "localhost.", "[::1", "0.0.0.0", "127.1", "2130706433",
    "testserver", "*", "127.0.0.1\t", "127.0.0.1:8321, evil.example",
]  # fmt: skip


@share(0.1)
@given(
    number=st.integers(0, 99),
    foreign=st.one_of(
        st.sampled_from([("origin", origin) for origin in ORIGINS]),
        st.sampled_from([("host", host) for host in HOSTS]),
        st.sampled_from(
            [("sec-fetch-site", site) for site in ("cross-site", "same-site", "none", "", "x")]
        ),
        st.sampled_from([("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example")]),
    ),
)
def test_a_form_from_a_page_elsewhere_or_for_another_host(
    scene: Scene, number: int, foreign: tuple[str, str]
) -> None:
    path = filled(scene.forms[number % len(scene.forms)], "assistant", "1")
    name, value = foreign
    forwarded = name in {"x-forwarded-host", "forwarded"}
    fields = {"csrf": "" if forwarded else scene.csrf, "reason": "because", "version": "1"}
    with nothing_changes(scene):
        answer = scene.admin.client.post(path, data=fields, headers={name: value})
    held_to(answer)
    assert answer.status_code == (400 if name == "host" else 403), (foreign, answer.status_code)
    if name == "host":
        page = scene.admin.client.get("/queue", headers={name: value})
        assert (page.status_code, "set-cookie" in page.headers) == (400, False)


@share(0.1)
@given(
    number=st.integers(0, 99),
    kind=st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
         "multipart/form-data", "multipart/form-data; boundary=" + "b" * 300, "application/json",
         "text/plain", "", "application/x-www-form-urlencoded; charset=utf-16", "\xff"]
    ),
    raw=st.one_of(
        st.binary(max_size=300),
        st.integers(1, 3000).map(lambda count: b"&".join(b"a=b" for _ in range(count))),
        st.integers(1, 1500).map(
            lambda count: b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * count
        ),
        st.just(b'--x\r\nContent-Disposition: form-data; name="csrf"; filename="a"\r\n\r\nb\r\n--x--'),
        st.just(b"x" * (LARGEST_BODY + 1)),
        st.just(b"csrf=" + b"a" * (LARGEST_BODY - 5)),
        st.just(json.dumps({"csrf": "x", "reason": "y"}).encode()),
        st.sampled_from([b"%", b"%zz=%ff", b"csrf=%00", b"=&=&=", b"\x00", b"csrf[]=a&csrf=b"]),
    ),
)  # fmt: skip
def test_bytes_that_are_no_form(scene: Scene, number: int, kind: str, raw: bytes) -> None:
    form = ["/sign-in", "/sign-out", "/password", *scene.forms][number % (len(scene.forms) + 3)]
    path = filled(form, "assistant", "1")
    scene.app.state.office.attempts._tried.clear()
    person = scene.admin if form != "/sign-in" else Attacker(scene.app)
    with nothing_changes(scene):
        answer = person.client.post(
            path, content=raw, headers={"content-type": kind.encode("latin-1")}
        )
    held_to(answer)
    assert answer.status_code in {400, 401, 403, 413}, (form, answer.status_code)


TRICKS = [
    "/static/../../registry.db", "/static/..%2f..%2fapp.py", "/static/%2e%2e/app.py", "//",
    "/static/....//app.py", "/static//etc/passwd", "/static/\\..\\app.py", "/static/lori.css%00",
    "/sequences/assistant/../../api/accounts", "/sequences/%2e%2e/%2e%2e/etc", "/./queue/.",
    "//evil.example/queue", "/\\evil.example", "/sequences//assistant", "/queue/", "/QUEUE",
    "/sequences/assistant/versions/1/", "/sequences/assistant/versions/01x", "/%00", "/%ff%fe",
    "/sequences/assistant;a=b", "/sequences/assistant%2fversions", "/..;/queue", "/.git/config",
    "/sequences/assistant/versions/1/adapter.zip/../../../../x", "/static/%252e%252e%252fapp.py",
    "/sequences/assistant/versions/99999999999999999999", "/sequences/assistant/versions/-1",
    "/sequences/assistant/matrix.csv%0d%0aset-cookie:a=b", "/registry.db", "/static/", "/static",
    "/sequences/assistant/versions/1/adapter.zip?task=../../etc&read=inherited",
    "/sequences/assistant/versions/1/answers?task=..%2f..%2fregistry.db",
]  # fmt: skip


@share(0.1)
@given(
    trick=st.one_of(
        st.sampled_from(TRICKS),
        st.builds(lambda a, b: f"/static/{in_path(a)}/{in_path(b)}", names, names),
        names.map(lambda name: f"/static/{in_path(name)}"),
    ),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]),
)
def test_a_trick_with_the_path(scene: Scene, trick: str, method: str) -> None:
    with nothing_changes(scene):
        answer = scene.admin.client.request(method, trick)
        stranger = Attacker(scene.app).client.request(method, trick)
    for each in (answer, stranger):
        held_to(each)
        assert b"SQLite format" not in each.content
        assert b"root:" not in each.content
        assert b"import " not in each.content[:200]
    assert stranger.status_code in REFUSED, (trick, stranger.status_code)
    if method not in {"GET", "HEAD"}:
        assert answer.status_code in REFUSED, (trick, answer.status_code)


ELSEWHERE = st.one_of(
    st.sampled_from(
        ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)",
         "/\t/evil.example", "\\\\evil.example", "/%0d%0aset-cookie:a=b", "/\r\nset-cookie: a=b",
         "///evil.example", "http:evil.example", "/" * 5000, "data:text/html,x", "/x" * 2000]
    ),
    st.builds(lambda a, b: a + "evil.example" + b, st.text("/\\:@ \t\r\n", max_size=6), st.text(max_size=9)),
    names,
)  # fmt: skip


@share(0.05)
@given(onward=ELSEWHERE, planted=st.text("abcXYZ019-_", max_size=70))
@example(onward="//evil.example", planted="")
def test_a_link_that_leads_elsewhere_and_a_cookie_that_was_planted(
    scene: Scene, onward: str, planted: str
) -> None:
    onward = onward.encode("utf-8", "replace").decode()
    person = Attacker(scene.app)
    if planted:
        person.cookie = planted
    scene.app.state.office.attempts._tried.clear()
    page = person.client.get("/sign-in", params={"next": onward})
    held_to(page)
    answer = person.sign_in("viewer", onward=onward)
    held_to(answer)
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert httpx.URL("http://127.0.0.1:8321").join(location).host == "127.0.0.1"
    assert location == way_onward(onward)
    assert location[:1] == "/"
    assert location[1:2] not in {"/", "\\"}
    given = answer.cookies[COOKIE]
    assert given != planted
    assert len(given) == 43
    thief = Attacker(scene.app)
    if planted:
        thief.cookie = planted
    assert thief.client.get("/queue").status_code == 303


@share(0.05)
@given(
    peer=st.sampled_from(["192.0.2.1", "127.0.0.1", "10.0.0.2", "::1", "unix", "10.0.0.1.evil", ""]),
    user=st.one_of(st.just("admin"), st.just("proxy:ann"), names),
    path=st.sampled_from(["/queue", "/", "/password", "/api/me", "/api/accounts"]),
    extra=st.sampled_from(
        [{}, {"x-forwarded-for": PROXY}, {"forwarded": f"for={PROXY}"}, {"x-real-ip": PROXY},
         {"x-forwarded-for": f"{PROXY}, {PROXY}"}]
    ),
)  # fmt: skip
def test_words_of_a_proxy_that_is_none(
    scene: Scene, peer: str, user: str, path: str, extra: dict[str, str]
) -> None:
    name = user.encode("utf-8", "replace").replace(b"\n", b"").replace(b"\r", b"")[:500]
    headers: dict[str, str | bytes] = {
        "x-forwarded-user": name.replace(b"\x00", b""),
        "x-forwarded-groups": "everything",
        **extra,
    }
    liar = Attacker(scene.app, peer=peer)
    with nothing_changes(scene):
        answer = liar.client.get(path, headers=headers)  # type: ignore[arg-type]
    held_to(answer)
    assert answer.status_code == (401 if path.startswith("/api/") else 303)


def test_ten_thousand_guesses_at_once_are_ten(scene: Scene) -> None:
    """However they are sent, no more than ten failures are looked at in five minutes."""
    office = scene.app.state.office
    office.attempts._tried.clear()
    looked = [
        Attacker(scene.app, peer=f"192.0.2.{number % 250}").send(
            "/sign-in", {"name": "admin", "password": f"guess {number}"}
        )
        for number in range(40)
    ]
    assert [each.status_code for each in looked] == [401] * 10 + [429] * 30
    assert isinstance(office.attempts, Attempts)
    office.attempts._tried.clear()


def test_the_trace_of_a_program_that_writes_a_download_is_not_shown(scene: Scene) -> None:
    made = scene.app.state.downloads
    broken = (sys.executable, "-c", "raise RuntimeError('a secret')")
    scene.app.state.downloads = Downloads(scene.home, command=broken, evidence=broken)
    client = TestClient(scene.app, base_url=BASE, raise_server_exceptions=False)
    client.cookies.set(COOKIE, scene.admin.cookie or "", domain="127.0.0.1")
    for path in ("adapter.zip?task=t01&read=inherited", "evidence.zip"):
        answer = client.get(f"/sequences/assistant/versions/1/{path}")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "File" not in answer.text
    scene.app.state.downloads = made


def test_the_admin_of_this_scene_could_have_done_all_of_it(scene: Scene) -> None:
    """Else the refusals above would prove nothing."""
    path = "/sequences/assistant/freeze"
    fields = {"until": "2100-01-01T00:00Z", "reason": "for the test"}
    assert scene.admin.fill_out(path, scene.csrf, **fields).status_code == 303
    assert (
        scene.admin.fill_out("/sequences/assistant/thaw", scene.csrf, reason="x").status_code == 303
    )
    Accounts(scene.registry, owner()).set_password("viewer", password_of("viewer"))
    assert Attacker(scene.app).sign_in("viewer").status_code == 303
