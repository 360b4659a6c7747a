"""Hostile names and bodies give one clear line, no trace, no row, and no file outside the store."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from api_cases import Browser
from decision_cases import learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from hostile import names, numbers, others, printable, share, texts, times
from hypothesis import example, given
from hypothesis import strategies as st

from lori_core.errors import LoriError
from registry.accounts import Accounts, owner
from registry.clock import now
from registry.decisions import Actor
from registry.desk import Desk
from registry.outbox import add, deliver
from registry.records import SequenceRecord, TaskRecord
from registry.remote import RemoteDesk
from registry.soundness import faults
from registry.store import open_registry
from registry.untouched import SETTLED_NS

SOON = (now() + timedelta(days=1)).isoformat()
ADMIN = Actor(name="ada", role="admin", account=True)


class Scene:
    """A served registry, and everything that must not change while it is attacked."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home" / ".lori"
        artifacts = FolderArtifacts(root / "home" / "store")
        self.registry = open_registry(self.home, artifacts=artifacts, aliases=FakeAliases())
        learn(self.registry, root / "made", 2)
        book = Accounts(self.registry, owner())
        book.create("ada", "admin")
        self.token = book.issue("ada", "test").secret
        self.browser = Browser(self.registry, None)

    def state(self) -> tuple[dict[str, int], frozenset[str]]:
        """Rows of every table, and every file there is, beside the database's own and its locks."""
        with contextlib.closing(sqlite3.connect(self.home / "registry.db")) as connection:
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            ]
            rows = {
                table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
                for table in tables
            }
        files = frozenset(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if not path.name.startswith("registry.db-")
        )
        return rows, files


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("hostile"))
    with scene.browser:
        deliver(scene.registry)  # as the server's errands do in the background, sooner or later
        time.sleep(SETTLED_NS / 1e9 + 0.1)  # files as young as this are never trusted
        for version in (1, 2):  # a first look at a version remembers that its files are as filed
            faults(scene.registry, "assistant", version)
        for path in ("/thaw", "/gate"):  # locks are files too: those of real names exist from here
            scene.browser.post(f"/api/sequences/assistant{path}", {"reason": "x"}, scene.token)
        scene.browser.post("/api/sequences/assistant/promotions", {"reason": "x"}, scene.token)
        yield scene
    scene.registry.close()


@contextlib.contextmanager
def nothing_changes(scene: Scene) -> Iterator[None]:
    rows, files = scene.state()
    yield
    rows_then, files_then = scene.state()
    assert rows_then == rows
    assert sorted(files_then ^ files) == []


NAMED = [
    "/api/sequences/{}", "/api/sequences/{}/tasks", "/api/sequences/{}/versions/1",
    "/api/sequences/{}/matrix?read=inherited", "/api/sequences/{}/log/check",
    "/api/sequences/{}/promotions", "/api/promotions/pending?sequence={}",
    "/api/sequences/assistant/versions/{}", "/api/sequences/assistant/aliases/{}",
    "/api/sequences/assistant/matrix?read={}", "/api/sequences/assistant/gate?version={}",
    "/api/sequences/assistant/versions/1/exports?read=inherited&task={}",
    "/api/sequences/assistant/served?at={}", "/api/accounts/{}/tokens",
]  # fmt: skip
WRITTEN = [
    ("POST", "/api/sequences/{}/promotions", {"reason": "x"}),
    ("POST", "/api/sequences/{}/rollback", {"reason": "x"}),
    ("POST", "/api/sequences/{}/thaw", {"reason": "x"}),
    ("POST", "/api/promotions/{}/approve", {"reason": "x"}),
    ("POST", "/api/waivers/{}/approve", {"reason": "x"}),
    ("POST", "/api/accounts/{}/disable", None),
    ("DELETE", "/api/webhooks/{}", None),
    ("DELETE", "/api/tokens/{}", None),
]


def in_path(name: str) -> str:
    return quote(name, safe="", errors="surrogatepass")


def tempered(name: str) -> str:
    """As a server would cut it: no path is 100,000 characters long."""
    return in_path(name)[:8000]


@share(0.25)
@given(name=names, where=st.sampled_from([*NAMED, *WRITTEN]), raw=st.booleans())
def test_a_hostile_name_in_a_path(
    scene: Scene, name: str, where: str | tuple[str, str, object], raw: bool
) -> None:
    method, path, body = ("GET", where, None) if isinstance(where, str) else where
    if not raw or not name.isascii() or not name.isprintable() or not 0 < len(name) < 8000:
        name = tempered(name)  # else as it is: `..` and `//` are for the server to see
    path = path.format(name)
    if not path.startswith("/api") or path.endswith("/"):
        return
    with nothing_changes(scene):
        answer = scene.browser.ask(method, path, token=scene.token, body=body)
    if method != "GET":
        assert answer.status >= 400


DESK = st.sampled_from(
    [
        lambda desk, name: desk.gate(name, 1),
        lambda desk, name: desk.promote(name, 1, reason="x"),
        lambda desk, name: desk.rollback(name, reason="x"),
        lambda desk, name: desk.history(name),
        lambda desk, name: desk.check_history(name),
        lambda desk, name: desk.champion(name),
        lambda desk, name: desk.freeze(name, now() + timedelta(days=1), "x"),
        lambda desk, name: desk.thaw(name, "x"),
        lambda desk, name: desk.retire("assistant", name, "x"),
        lambda desk, name: desk.waive(
            "assistant", 1, f"rule {name}", "x", now() + timedelta(days=1)
        ),
        lambda desk, name: desk.confirm(name, 1, "t01", "inherited", "0" * 64, "h", now()),
        lambda desk, name: desk.confirm("assistant", 1, name, "inherited", "0" * 64, "h", now()),
        lambda desk, name: desk.confirm("assistant", 1, "t01", "inherited", name, "h", now()),
        lambda desk, name: Accounts(desk.registry, ADMIN).create(name, "admin"),
        lambda desk, name: Accounts(desk.registry, ADMIN).issue(name, "x"),
        lambda desk, name: add(desk.registry, name, "http://127.0.0.1/x"),
        lambda desk, name: desk.registry.sequence(name),
        lambda desk, name: desk.registry.version(name, 1),
        lambda desk, name: desk.registry.artifact_path(name, 1),
        lambda desk, name: desk.registry.declare_sequence(_sequence(name)),
        lambda desk, name: desk.registry.declare_task("assistant", _task(name)),
        lambda desk, name: RemoteDesk("http://127.0.0.1:1", None).promote(name, 1, reason="x"),
        lambda desk, name: RemoteDesk("http://127.0.0.1:1", None).disable(name),
    ]
)


def _sequence(name: str) -> SequenceRecord:
    return SequenceRecord(name=name, base_digest="0" * 64, base_path="/x", adapter={}, tasks=())


def _task(name: str) -> TaskRecord:
    return TaskRecord(position=3, name=name, config={}, data={})


@share(0.2)
@given(name=names, ask=DESK)
def test_a_hostile_name_at_the_desk(scene: Scene, name: str, ask: object) -> None:
    assert callable(ask)
    with nothing_changes(scene), pytest.raises(LoriError) as refusal:
        ask(Desk(scene.registry, ADMIN), name)
    assert "\n" not in str(refusal.value)


REASON = {"reason": texts | others | st.integers()}
S = "/api/sequences/assistant"
BODIES: list[tuple[str, str, dict[str, object], dict[str, st.SearchStrategy[object]]]] = [
    ("POST", f"{S}/gate", {"version": 1}, {"version": numbers}),
    (
        "POST",
        f"{S}/promotions",
        {"version": 1, "reason": "x", "to": "champion", "expect": 7},
        {"version": numbers, "to": names, "expect": numbers, **REASON},
    ),
    (
        "POST",
        f"{S}/rollback",
        {"reason": "x", "to_version": 1, "expect": 7},
        {"to_version": numbers, "expect": numbers, **REASON},
    ),
    ("POST", f"{S}/freeze", {"until": SOON, "reason": "x"}, {"until": times, **REASON}),
    (
        "POST",
        f"{S}/waivers",
        {"version": 1, "rule": "learning:t01", "reason": "x", "expires": SOON},
        {"version": numbers | st.none(), "rule": texts | others, "expires": times, **REASON},
    ),
    ("POST", f"{S}/retired", {"task": "t01", "reason": "x"}, {"task": names | others, **REASON}),
    (
        "POST",
        f"{S}/confirmations",
        {
            "version": 1,
            "task": "t01",
            "read": "inherited",
            "digest": "0" * 64,
            "host": "h",
            "loaded_at": now().isoformat(),
        },
        {
            "version": numbers | st.none(),
            "task": names | others,
            "read": names | others,
            "digest": names | others,
            "host": texts | others,
            "loaded_at": times,
        },
    ),
    (
        "POST",
        "/api/accounts",
        {"name": "eve", "role": "viewer"},
        {"name": names | others, "role": names | others},
    ),
    ("PUT", "/api/accounts/ada/role", {"role": "admin"}, {"role": names | others}),
    (
        "POST",
        "/api/accounts/ada/tokens",
        {"label": "x", "expires": SOON},
        {"label": texts | others, "expires": times.filter(lambda each: each is not None)},
    ),
    (
        "POST",
        "/api/webhooks",
        {"name": "ops", "url": "http://127.0.0.1/x", "kinds": [], "secret": None},
        {
            "name": names | others,
            "url": names | others,
            "kinds": names | st.lists(names, min_size=1, max_size=2),
            "secret": others.filter(lambda each: each is not None) | st.just("short"),
        },
    ),
]


@share(0.25)
@given(data=st.data(), case=st.sampled_from(BODIES))
def test_a_hostile_value_in_a_body(
    scene: Scene,
    data: st.DataObject,
    case: tuple[str, str, dict[str, object], dict[str, st.SearchStrategy[object]]],
) -> None:
    method, path, good, hostile = case
    key = data.draw(st.sampled_from(sorted(hostile)))
    body = {**good, key: data.draw(hostile[key])}
    if data.draw(st.integers(0, 9)) == 0:
        body = {**good, data.draw(st.text(max_size=20).filter(lambda k: k not in good)): 1}
    with nothing_changes(scene):
        answer = scene.browser.ask(method, path, token=scene.token, body=body)
    assert answer.status in {400, 404, 409, 413}, (answer, body)
    assert printable(answer.error)


@share(0.1)
@given(
    raw=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda text: json.dumps(text).encode()),
        st.integers(1, 100_000).map(lambda depth: b"[" * depth),
        st.integers(1, 30_000).map(lambda depth: b'{"a":' * depth),
        st.integers(4000, 9000).map(lambda digits: b'{"version": ' + b"9" * digits + b"}"),
        st.sampled_from(
            [b"", b"null", b"NaN", b'{"version": NaN}', b'{"version": 1e999}', b'{"version": 1.0}',
             b'\xff\xfe{\x00}\x00', b'{"version": "\\ud800"}', b'{"__proto__": {}}']
        ),
    ),
    case=st.sampled_from(BODIES),
    kind=st.sampled_from(
        ["application/json", "text/plain", "application/x-www-form-urlencoded", "", "\xff",
         "application/json; charset=utf-16", "multipart/form-data; boundary=x"]
    ),
)  # fmt: skip
@example(raw=b"{}", case=BODIES[1], kind="text/plain")
def test_bytes_that_are_no_body(
    scene: Scene,
    raw: bytes,
    case: tuple[str, str, dict[str, object], object],
    kind: str,
) -> None:
    method, path, *_ = case
    if path.endswith("/gate") and raw in {b"{}", b"\xff\xfe{\x00}\x00"}:
        return  # every key may be left out, and JSON tells its own encoding
    with nothing_changes(scene):
        answer = scene.browser.ask(
            method, path, token=scene.token, raw=raw, headers={"content-type": kind}
        )
    assert answer.status in {400, 413}
